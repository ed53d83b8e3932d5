// libdatachannel with libjuice: two peers, relay candidates only, 100 messages each way over a data channel.
// Called with one JSON argument; the last line is a JSON object of facts, exit status 1 tells failure.
'use strict';
const fail = (why) => {
  console.log(why);
  process.exit(1);
};
process.on('uncaughtException', (error) => fail(String(error).split('\n')[0]));

const { createRequire } = require('module');
const rtc = createRequire(`${process.env.INTEROP_NODE}/`)('node-datachannel');

const told = JSON.parse(process.argv[2]);
setTimeout(() => fail(`not done within 15 s: ${JSON.stringify(got)}`), 15000);

// What a browser takes, in the words of libdatachannel. As one URI, a credential must have no colon in its name.
const relay = ({ urls, username, credential }) => urls
  .map((url) => /^turn:\[?([^\]?]+)\]?:(\d+)\?transport=udp$/.exec(url))
  .filter((found) => found)
  .map(([, hostname, port]) => ({ hostname, port: Number(port), username, password: credential, relayType: 'TurnUdp' }));
const servers = told.iceServers
  ? told.iceServers.filter((entry) => entry.credential).flatMap(relay)
  : [{ hostname: told.server[0], port: told.server[1], username: told.user, password: told.password, relayType: 'TurnUdp' }];

// libjuice pairs its host sockets too, whatever the policy says. Each peer has an address of its own that the
// other's allocation has no permission for, so that a pair can only work from relay to relay.
const peer = (name, bindAddress) => new rtc.PeerConnection(name, {
  iceServers: servers,
  iceTransportPolicy: 'relay',
  bindAddress,
});
const a = peer('a', '127.0.0.2');
const b = peer('b', '127.0.0.3');
const got = { a: [], b: [] };
const wanted = (name) => Array.from({ length: told.messages }, (_, number) => `${number} from ${name}`);

function start(name, channel) {
  channel.onMessage((message) => {
    got[name].push(message);
    if (got.a.length === told.messages && got.b.length === told.messages) finish();
  });
  const send = () => wanted(name).forEach((message) => channel.sendMessage(message));
  if (channel.isOpen()) send();
  else channel.onOpen(send);
  return channel;
}

function finish() {
  for (const [name, other] of [['a', 'b'], ['b', 'a']]) {
    if (got[name].join() !== wanted(other).join()) fail('messages came in another order or changed');
  }
  const kinds = [a, b].map((each) => {
    const pair = each.getSelectedCandidatePair();
    return `${pair.local.type}-${pair.remote.type}`;
  });
  if (kinds.some((kind) => kind !== 'relay-relay')) fail(`not relayed at both ends: ${kinds}`);
  console.log(JSON.stringify({ each_way: [got.b.length, got.a.length], pairs: kinds }));
  process.exit(0);
}

// Held here: a channel without a reference is collected and closed.
const channels = [];
for (const [one, other] of [[a, b], [b, a]]) {
  one.onLocalDescription((sdp, type) => other.setRemoteDescription(sdp, type));
  one.onLocalCandidate((candidate, mid) => other.addRemoteCandidate(candidate, mid));
  one.onStateChange((state) => state === 'failed' && fail('ICE failed'));
}
b.onDataChannel((channel) => channels.push(start('b', channel)));
channels.push(start('a', a.createDataChannel('interop')));
