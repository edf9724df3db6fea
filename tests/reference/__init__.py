"""What the rules of a presentity let a watcher see, told a second time: from the RFC texts, as simply as can be.

Nothing here knows `presence`. It reads everything anew each time with lxml, and is for comparing:

- `evaluate(rules, watcher, anonymous, now, sphere, lists, default)` -> "block", "confirm", "polite-block" or "allow".
  `rules` are the rules documents of the presentity (bytes), `watcher` is a URI, `now` epoch seconds, `sphere` a
  string or None, `lists` a mapping from anchors of <external-list> to the URIs in the list, `default` what is to
  become of a watcher whom no rule matches.
- `visible(document, rules, watcher, anonymous, now, sphere, lists)` -> what that watcher may see of a composed presence
  document, as `content` tells it. Whether the handling lets it see anything is not asked.
- `content(document)` -> a sorted list of what a document says: each element with its attributes and text, by its path.
  White space around text, comments and namespace prefixes are nothing. Two documents that say the same are equal.
- `generators`: random rules, documents, watchers and lists that fit each other, from a `random.Random`.

So a test of a whole server is `content(body of the NOTIFY) == visible(composed document, ...)`.
"""

from reference.privacy import content, evaluate, matches, visible

__all__ = ["content", "evaluate", "matches", "visible"]
