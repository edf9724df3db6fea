"""test-app: documents without a schema, for trying out the protocol; the examples of RFC 4825 section 8.2.3 are its."""

from presence.xcap.usage import Usage


class TestApp(Usage):
    """Anything that is well-formed."""

    __test__ = False  # not pytest's

    auid = "test-app"
    content_type = "application/test-app+xml"
    namespace = "test-app"
