// SIP.js as a program, as a browser has it: orders by lines on stdin, what happens and the trace on stdout.
// node sipjs_agent.js USER URL PASSWORD [BUDDY]; the modules sip.js and ws are found by NODE_PATH.

const readline = require("readline");
globalThis.WebSocket = require("ws");
const { UserAgent, Registerer, Publisher, Subscriber, SubscriptionState } = require("sip.js");

const [user, server, password, buddy] = process.argv.slice(2);
const own = UserAgent.makeURI(`sip:${user}@example.com`);
const say = (text) => process.stdout.write(`\n+ ${text}\n`);

const agent = new UserAgent({
  uri: own,
  authorizationUsername: user,
  authorizationPassword: password,
  transportOptions: { server, traceSip: true },
  logBuiltinEnabled: false,
  logConnector: (level, category, label, content) => process.stdout.write(`${content}\n`),
});

const pidf = (basic, note) =>
  `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${own}">` +
  `<tuple id="sipjs"><status><basic>${basic}</basic></status><note>${note}</note></tuple></presence>`;

async function main() {
  await agent.start();
  const registerer = new Registerer(agent);
  registerer.stateChange.addListener((state) => say(`registration ${state}`));
  await registerer.register();
  const publisher = new Publisher(agent, own, "presence", {
    expires: 600,
    contentType: "application/pidf+xml",
  });
  let subscriber;
  if (buddy) {
    subscriber = new Subscriber(agent, UserAgent.makeURI(`sip:${buddy}@example.com`), "presence", { expires: 300 });
    subscriber.delegate = {
      onNotify: (notification) => {
        notification.accept();
        const basic = /<basic>(\w+)<\/basic>/.exec(notification.request.body);
        say(`buddy ${buddy} ${basic && basic[1]} ${notification.request.getHeader("Subscription-State")}`);
      },
    };
    subscriber.stateChange.addListener((state) => say(`subscription ${state}`));
    await subscriber.subscribe();
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, ...rest] = line.split(" ");
    if (word === "publish") await publisher.publish(pidf(rest[0], rest.slice(1).join(" ")));
    if (word === "unpublish") await publisher.unpublish();
    if (word === "forget") await subscriber.unsubscribe();
    if (word === "unregister") await registerer.unregister();
    if (word === "quit") break;
  }
  await agent.stop();
  process.exit(0);
}

main().catch((error) => {
  say(`failed: ${error.stack}`);
  process.exit(1);
});
