"""pjsua as a program: one account and its buddies by arguments, orders by lines on stdin, its trace on stdout.

It runs in a process of its own, because the library has threads and prints as it likes.
"""

import argparse
import select
import sys

import pjsua2 as pj


class Account(pj.Account):
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        print(f"\n+ registration {prm.code} {prm.reason} for {prm.expiration}", flush=True)

    def onMwiInfo(self, prm: pj.OnMwiInfoParam) -> None:
        body = prm.rdata.wholeMsg.replace("\r", "").partition("\n\n")[2]
        print(f"\n+ mailbox {' | '.join(body.split(chr(10)))}", flush=True)


class Buddy(pj.Buddy):
    def onBuddyState(self) -> None:
        info = self.getInfo()
        seen = info.presStatus
        shown = {pj.PJSUA_BUDDY_STATUS_ONLINE: "online", pj.PJSUA_BUDDY_STATUS_OFFLINE: "offline"}
        activity = {pj.PJRPID_ACTIVITY_AWAY: " away", pj.PJRPID_ACTIVITY_BUSY: " busy"}.get(seen.activity, "")
        status = shown.get(seen.status, "unknown") + activity
        print(f"\n+ buddy {info.uri} {status} [{seen.statusText}] {info.subStateName} {info.subTermReason}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("user")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--transport", default="udp")
    parser.add_argument("--password", default="")
    parser.add_argument("--algorithm", default="")
    parser.add_argument("--ca", default="")
    parser.add_argument("--mailbox", action="store_true")
    parser.add_argument("--buddy", action="append", default=[])
    return parser.parse_args()


def open_endpoint(args: argparse.Namespace) -> pj.Endpoint:
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.logConfig.level = config.logConfig.consoleLevel = 5
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.userAgent = f"pjsua2 {endpoint.libVersion().full}"
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    transport.port = 0
    if args.ca:
        transport.tlsConfig.CaListFile = args.ca
        transport.tlsConfig.verifyServer = True
        transport.tlsConfig.method = pj.PJSIP_TLSV1_2_METHOD
    endpoint.transportCreate(getattr(pj, f"PJSIP_TRANSPORT_{args.transport.upper()}"), transport)
    endpoint.audDevManager().setNullDev()
    endpoint.libStart()
    return endpoint


def open_account(args: argparse.Namespace) -> Account:
    config = pj.AccountConfig()
    config.idUri = f"sip:{args.user}@example.com"
    config.regConfig.registrarUri = "sip:example.com"
    config.regConfig.timeoutSec = 60
    config.sipConfig.proxies.append(f"sip:127.0.0.1:{args.port};transport={args.transport};lr")
    config.presConfig.publishEnabled = True
    config.mwiConfig.enabled = args.mailbox
    if args.password:
        credentials = pj.AuthCredInfo("digest", "*", args.user, 0, args.password)
        if args.algorithm != "MD5":
            kind = args.algorithm.replace("SHA-", "SHA").replace("-", "_")
            credentials.algoType = getattr(pj, f"PJSIP_AUTH_ALGORITHM_{kind}")
        config.sipConfig.authCreds.append(credentials)
    account = Account()
    account.create(config)
    return account


def obey(order: str, account: Account, buddies: dict[str, Buddy]) -> bool:
    """Do what a line says and return whether to go on."""
    word, _, rest = order.strip().partition(" ")
    activities = {"online": pj.PJRPID_ACTIVITY_UNKNOWN, "busy": pj.PJRPID_ACTIVITY_BUSY}
    if word in (*activities, "offline"):
        status = pj.PresenceStatus()
        status.status = pj.PJSUA_BUDDY_STATUS_OFFLINE if word == "offline" else pj.PJSUA_BUDDY_STATUS_ONLINE
        status.activity = activities.get(word, pj.PJRPID_ACTIVITY_UNKNOWN)
        status.note = rest
        account.setOnlineStatus(status)
    elif word in ("watch", "forget"):
        buddies[rest].subscribePresence(word == "watch")
    return word != "quit"


def main() -> None:
    args = arguments()
    endpoint = open_endpoint(args)
    account = open_account(args)
    buddies = {}
    for name in args.buddy:
        config = pj.BuddyConfig()
        config.uri = f"sip:{name}@example.com"
        config.subscribe = True
        buddies[name] = Buddy()
        buddies[name].create(account, config)
    going = True
    while going:
        endpoint.libHandleEvents(10)
        if select.select([sys.stdin], [], [], 0)[0]:
            going = obey(sys.stdin.readline(), account, buddies)
    account.setRegistration(False)
    # It unpublishes, unsubscribes and unregisters in here, and waits for the answers for some seconds at most.
    endpoint.libDestroy()


main()
