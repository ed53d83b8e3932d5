// werift (all TypeScript, its own ICE and TURN): two peers, relay candidates only, 100 messages each way.
// Called with one JSON argument; the last line is a JSON object of facts, exit status 1 tells failure.
'use strict';
const fail = (why) => {
  console.log(why);
  process.exit(1);
};
process.on('uncaughtException', (error) => fail(String(error).split('\n')[0]));

const { createRequire } = require('module');
const { RTCPeerConnection } = createRequire(`${process.env.INTEROP_NODE}/`)('werift');

const told = JSON.parse(process.argv[2]);
const got = { a: [], b: [] };
setTimeout(() => fail(`not done within 15 s: ${got.a.length} and ${got.b.length} messages`), 15000);

const [scheme, transport] = told.transport === 'tls' ? ['turns', 'tcp'] : ['turn', told.transport];
const peer = () => new RTCPeerConnection({
  iceServers: told.iceServers ?? [{
    urls: `${scheme}:${told.server[0]}:${told.server[1]}?transport=${transport}`,
    username: told.user,
    credential: told.password,
  }],
  iceTransportPolicy: 'relay',
});
const wanted = (name) => Array.from({ length: told.messages }, (_, number) => `${number} from ${name}`);

function start(name, channel, finish) {
  channel.onMessage.subscribe((message) => {
    got[name].push(message.toString());
    if (got.a.length === told.messages && got.b.length === told.messages) finish();
  });
  const send = () => wanted(name).forEach((message) => channel.send(message));
  if (channel.readyState === 'open') send();
  else channel.stateChanged.subscribe((state) => state === 'open' && send());
}

async function main() {
  const [a, b] = [peer(), peer()];
  const finish = async () => {
    for (const [name, other] of [['a', 'b'], ['b', 'a']]) {
      if (got[name].join() !== wanted(other).join()) fail('messages came in another order or changed');
    }
    const legs = [a, b].map((each) => {
      const pair = each.iceTransports[0].connection.nominated;
      return `${pair.localCandidate.type}-${pair.remoteCandidate.type} by ${pair.protocol.turn.transport.type}`;
    });
    // werift goes on over TCP when UDP displeases it: then the case would prove the wrong thing.
    if (legs.some((leg) => leg !== `relay-relay by ${told.transport}`)) fail(`not relayed at both ends as told: ${legs}`);
    // Closing deletes the allocations with Refresh 0.
    await Promise.all([a.close(), b.close()]);
    console.log(JSON.stringify({ each_way: [got.b.length, got.a.length], pairs: legs }));
    process.exit(0);
  };
  for (const [one, other] of [[a, b], [b, a]]) {
    one.onIceCandidate.subscribe((candidate) => candidate && other.addIceCandidate(candidate));
  }
  b.onDataChannel.subscribe((channel) => start('b', channel, finish));
  start('a', a.createDataChannel('interop'), finish);
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(b.localDescription);
}

main().catch((error) => fail(String(error)));
