"""Documents of XCAP application usages: the examples of the RFCs, unfolded, and what clients write."""

from typing import Final

# ruff: noqa: E501

COMMON_POLICY: Final = {
    "7.1.2": b"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
    <rule id="f3g44r1">
        <conditions>
            <identity>
                <one id="sip:alice@example.com"/>
                <one id="tel:+1-212-555-1234" />
                <one id="mailto:bob@example.net" />
            </identity>
        </conditions>
        <actions/>
        <transformations/>
    </rule>
</ruleset>
""",
    "7.1.3.1": b"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
    <rule id="f3g44r5">
        <conditions>
            <identity>
              <many/>
            </identity>
        </conditions>
        <actions/>
        <transformations/>
    </rule>
</ruleset>
""",
    "7.1.3.2": b"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
    <rule id="f3g44r1">
        <conditions>
            <sphere value="work"/>
            <identity>
                <many>
                    <except domain="example.com"/>
                    <except domain="example.org"/>
                    <except id="sip:alice@bad.example.net"/>
                    <except id="sip:bob@good.example.net"/>
                    <except id="tel:+1-212-555-1234" />
                    <except id="sip:alice@example.com"/>
                </many>
            </identity>
            <validity>
                <from>2003-12-24T17:00:00+01:00</from>
                <until>2003-12-24T19:00:00+01:00</until>
            </validity>
        </conditions>
        <actions/>
        <transformations/>
    </rule>
</ruleset>
""",
    "7.1.3.3": b"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
    <rule id="f3g44r1">
        <conditions>
            <identity>
                <many domain="example.com">
                    <except id="sip:alice@example.com"/>
                    <except id="sip:bob@example.com"/>
                </many>
            </identity>
        </conditions>
        <actions/>
        <transformations/>
    </rule>
</ruleset>
""",
    "7.3": b"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
  <rule id="f3g44r2">
    <conditions>
      <sphere value="work"/>
      <identity>
        <one id="sip:andrew@example.com"/>
      </identity>
    </conditions>
    <actions/>
    <transformations/>
  </rule>
  <rule id="y6y55r2">
    <conditions>
      <sphere value="home"/>
      <identity>
        <one id="sip:allison@example.com"/>
      </identity>
    </conditions>
    <actions/>
    <transformations/>
  </rule>
  <rule id="z6y55r2">
    <conditions>
      <identity>
           <one id="sip:john@doe.example.com"/>
      </identity>
      <sphere value="home work"/>
    </conditions>
    <actions/>
    <transformations/>
  </rule>
</ruleset>
""",
    "7.4": b"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
  <rule id="f3g44r3">
    <conditions>
        <validity>
            <from>2003-08-15T10:20:00.000-05:00</from>
            <until>2003-09-15T10:20:00.000-05:00</until>
        </validity>
    </conditions>
    <actions/>
    <transformations/>
  </rule>
</ruleset>
""",
    "12": b"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
    <rule id="f3g44r1">
        <conditions>
            <identity>
                <one id="sip:bob@example.com"/>
            </identity>
            <sphere value="work"/>
            <validity>
                <from>2003-12-24T17:00:00+01:00</from>
                <until>2003-12-24T19:00:00+01:00</until>
            </validity>
        </conditions>
        <actions/>
        <transformations/>
    </rule>
</ruleset>
""",
}
"""By section of RFC 4745."""

PRES_RULES: Final = b"""<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules"
 xmlns:pr="urn:ietf:params:xml:ns:pres-rules"
 xmlns:cr="urn:ietf:params:xml:ns:common-policy">
 <cr:rule id="a">
  <cr:conditions>
   <cr:identity>
    <cr:one id="sip:user@example.com"/>
   </cr:identity>
  </cr:conditions>
  <cr:actions>
   <pr:sub-handling>allow</pr:sub-handling>
  </cr:actions>
  <cr:transformations>
   <pr:provide-services>
     <pr:service-uri-scheme>sip</pr:service-uri-scheme>
     <pr:service-uri-scheme>mailto</pr:service-uri-scheme>
   </pr:provide-services>
   <pr:provide-persons>
     <pr:all-persons/>
   </pr:provide-persons>
   <pr:provide-activities>true</pr:provide-activities>
   <pr:provide-user-input>bare</pr:provide-user-input>
    <pr:provide-unknown-attribute
     ns="urn:vendor-specific:foo-namespace"
     name="foo">true</pr:provide-unknown-attribute>
  </cr:transformations>
 </cr:rule>
</cr:ruleset>
"""
"""RFC 5025 section 6."""

RESOURCE_LISTS: Final = b"""<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <list name="friends">
  <entry uri="sip:bill@example.com">
   <display-name>Bill Doe</display-name>
  </entry>
  <entry-ref ref="resource-lists/users/sip:bill@example.com/index/~~/resource-lists/list%5b@name=%22list1%22%5d/entry%5b@uri=%22sip:petri@example.com%22%5d"/>
  <list name="close-friends">
   <display-name>Close Friends</display-name>
   <entry uri="sip:joe@example.com">
    <display-name>Joe Smith</display-name>
   </entry>
   <entry uri="sip:nancy@example.com">
    <display-name>Nancy Gross</display-name>
   </entry>
   <external anchor="http://xcap.example.org/resource-lists/users/sip:a@example.org/index/~~/resource-lists/list%5b@name=%22mkting%22%5d">
     <display-name>Marketing</display-name>
    </external>
  </list>
 </list>
</resource-lists>
"""
"""RFC 4826 section 3.3."""

RLS_SERVICES: Final = b"""<?xml version="1.0" encoding="UTF-8"?>
<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"
   xmlns:rl="urn:ietf:params:xml:ns:resource-lists"
   xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <service uri="sip:mybuddies@example.com">
  <resource-list>http://xcap.example.com/resource-lists/users/sip:joe@example.com/index/~~/resource-lists/list%5b@name=%22l1%22%5d</resource-list>
  <packages>
   <package>presence</package>
  </packages>
 </service>
 <service uri="sip:marketing@example.com">
   <list name="marketing">
     <rl:entry uri="sip:joe@example.com"/>
     <rl:entry uri="sip:sudhir@example.com"/>
   </list>
   <packages>
     <package>presence</package>
   </packages>
 </service>
</rls-services>
"""
"""RFC 4826 section 4.3, of sip:joe@example.com at http://xcap.example.com."""

PIDF: Final = b"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"
     xmlns:rp="urn:ietf:params:xml:ns:pidf:rpid"
     xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
     xmlns:ci="urn:ietf:params:xml:ns:pidf:cipid"
     entity="sip:someone@example.com">
  <tuple id="x8eg92m">
    <status>
      <basic>closed</basic>
    </status>
    <rp:user-input>idle</rp:user-input>
    <rp:class>auth-1</rp:class>
    <contact priority="0.5">sip:user@example.com</contact>
    <note>I'm available only by e-mail.</note>
    <timestamp>2004-02-06T16:49:29Z</timestamp>
  </tuple>
  <tuple id="x8eg92n">
    <status>
      <basic>open</basic>
    </status>
    <rp:class>auth-1</rp:class>
    <contact priority="1.0">mailto:someone@example.com</contact>
    <note>I'm reading mail a couple of times a week</note>
  </tuple>
  <dm:person id="p1">
     <rp:class>auth-A</rp:class>
     <ci:homepage>http://www.example.com/~someone</ci:homepage>
     <rp:activities>
         <rp:vacation/>
     </rp:activities>
  </dm:person>
</presence>
"""
"""RFC 4827 section 11."""

# What Blink writes; {root} is the XCAP root and {user} the user's address without its scheme.

BLINK_LISTS: Final = """<?xml version='1.0' encoding='UTF-8'?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:addressbook="urn:ag-projects:xml:ns:addressbook">
  <list name="sipsimple_addressbook">
    <addressbook:contact id="1"><addressbook:name>Bob</addressbook:name></addressbook:contact>
  </list>
  <list name="oma_buddylist">
    <external anchor="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22friends%22%5D"/>
  </list>
  <list name="oma_grantedcontacts">
    <entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry>
    <external anchor="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5b%40name=%22oma_buddylist%22%5d"/>
  </list>
  <list name="oma_blockedcontacts">
    <entry uri="sip:mallory@example.com"/>
  </list>
  <list name="oma_allcontacts">
    <external anchor="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22oma_buddylist%22%5D"/>
    <external anchor="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22oma_grantedcontacts%22%5D"/>
    <external anchor="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22oma_blockedcontacts%22%5D"/>
  </list>
  <list name="friends">
    <entry uri="sip:carol@example.com"/>
    <entry uri="sips:dan@example.com"/>
    <list name="close"><entry uri="sip:erin@example.com;transport=tcp"/></list>
  </list>
</resource-lists>
"""

BLINK_RULES: Final = """<?xml version='1.0' encoding='UTF-8'?>
<cp:ruleset xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:ocp="urn:oma:xml:xdm:common-policy"
    xmlns:cp="urn:ietf:params:xml:ns:common-policy">
  <cp:rule id="wp_prs_grantedcontacts">
    <cp:conditions>
      <ocp:external-list>
        <ocp:entry anc="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22oma_grantedcontacts%22%5D"/>
      </ocp:external-list>
    </cp:conditions>
    <cp:actions><pr:sub-handling>allow</pr:sub-handling></cp:actions>
    <cp:transformations>
      <pr:provide-devices><pr:all-devices/></pr:provide-devices>
      <pr:provide-persons><pr:all-persons/></pr:provide-persons>
      <pr:provide-services><pr:all-services/></pr:provide-services>
      <pr:provide-all-attributes/>
    </cp:transformations>
  </cp:rule>
  <cp:rule id="wp_prs_blockedcontacts">
    <cp:conditions>
      <ocp:external-list>
        <ocp:entry anc="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22oma_blockedcontacts%22%5D"/>
      </ocp:external-list>
    </cp:conditions>
    <cp:actions><pr:sub-handling>polite-block</pr:sub-handling></cp:actions>
  </cp:rule>
  <cp:rule id="wp_prs_unlisted">
    <cp:conditions><ocp:other-identity/></cp:conditions>
    <cp:actions><pr:sub-handling>confirm</pr:sub-handling></cp:actions>
  </cp:rule>
  <cp:rule id="wp_prs_block_anonymous">
    <cp:conditions><ocp:anonymous-request/></cp:conditions>
    <cp:actions><pr:sub-handling>block</pr:sub-handling></cp:actions>
  </cp:rule>
</cp:ruleset>
"""

BLINK_SERVICES: Final = """<?xml version='1.0' encoding='UTF-8'?>
<rls-services xmlns:rl="urn:ietf:params:xml:ns:resource-lists" xmlns="urn:ietf:params:xml:ns:rls-services">
  <service uri="sip:{name}+presence@example.com">
    <resource-list>{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22oma_buddylist%22%5D</resource-list>
    <packages><package>presence</package></packages>
  </service>
  <service uri="sip:{name}+dialog@example.com">
    <list name="friends"><rl:entry uri="sip:carol@example.com"/></list>
    <packages><package>dialog</package></packages>
  </service>
</rls-services>
"""

BLINK_OFFLINE: Final = """<?xml version='1.0' encoding='UTF-8'?>
<presence xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns="urn:ietf:params:xml:ns:pidf" xmlns:agp-pidf="urn:ag-projects:xml:ns:pidf" entity="sip:{user}">
  <dm:person id="offline">
    <rpid:activities><rpid:other>offline</rpid:other></rpid:activities>
    <dm:note>On holiday</dm:note>
    <dm:timestamp>2026-07-01T12:00:00Z</dm:timestamp>
  </dm:person>
</presence>
"""

BLINK_DIALOG_RULES: Final = """<?xml version='1.0' encoding='UTF-8'?>
<cp:ruleset xmlns:dr="http://openxcap.org/ns/dialog-rules" xmlns:ocp="urn:oma:xml:xdm:common-policy"
    xmlns:cp="urn:ietf:params:xml:ns:common-policy">
  <cp:rule id="dialog_allow">
    <cp:conditions>
      <ocp:external-list>
        <ocp:entry anc="{root}/resource-lists/users/sip:{user}/index/~~/resource-lists/list%5B@name=%22friends%22%5D"/>
      </ocp:external-list>
    </cp:conditions>
    <cp:actions><dr:sub-handling>allow</dr:sub-handling></cp:actions>
  </cp:rule>
</cp:ruleset>
"""

# What Jitsi writes.

JITSI_RULES: Final = """<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">
<rule id="presence_allow"><conditions><identity><one id="sip:bob@example.com"/></identity></conditions>
<actions><sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">allow</sub-handling></actions>
<transformations><provide-services xmlns="urn:ietf:params:xml:ns:pres-rules"><all-services/></provide-services>
<provide-persons xmlns="urn:ietf:params:xml:ns:pres-rules"><all-persons/></provide-persons>
<provide-devices xmlns="urn:ietf:params:xml:ns:pres-rules"><all-devices/></provide-devices>
<provide-all-attributes xmlns="urn:ietf:params:xml:ns:pres-rules"/></transformations></rule></ruleset>
"""

JITSI_LISTS: Final = """<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="RootGroup"><entry uri="sip:bob@example.com">
<display-name>Bob</display-name></entry><list name="Work"><display-name>Work</display-name>
<entry uri="sip:carol@example.com"><display-name>Carol</display-name><ct:contact xmlns:ct="http://jitsi.org/contact-type"
 type="sip"/></entry></list></list></resource-lists>
"""

PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""One pixel, in base64."""

JITSI_PICTURE: Final = f"""<?xml version="1.0" encoding="UTF-8"?>
<content xmlns="urn:oma:xml:prs:pres-content"><mime-type>image/png</mime-type><encoding>base64</encoding>
<description xml:lang="en">alice</description><data>{PNG}</data></content>
"""
