// Where a name says that its server is: `turnwire check` with a name server of the case's own.
import { fileURLToPath } from 'node:url';

import { NAME, Process, Server, addCase, equal, eventually, must } from './harness.mjs';
import { PLACES, check } from './case_tools.mjs';
import { Network, SERVER } from './network.mjs';

const BARE = 'example.test';
const ZONE = {
  [NAME]: { A: SERVER },
  // Where the usual port of turns: is not served.
  [`_turns._tcp.${NAME}`]: { SRV: [[10, 0, 443, NAME]] },
  [`_turn._udp.${NAME}`]: { SRV: [[20, 0, 443, NAME], [10, 0, 3478, NAME]] },
  [`_turn._udp.${BARE}`]: { SRV: [[10, 0, 3478, NAME]] },
  [`_turn._tcp.${BARE}`]: { SRV: [[10, 0, 3478, `gone.${BARE}`]] },
  [`_turns._tcp.${BARE}`]: { SRV: [[0, 0, 0, '.']] },
};

const nameServer = async (context) => {
  const directory = context.scratch.directory('names');
  const words = [process.execPath, fileURLToPath(new URL('dns.mjs', import.meta.url)), SERVER, JSON.stringify(ZONE)];
  const names = new Process('server', words, { directory });
  context.processes.push(names);
  await eventually(() => names.output().includes('ready'), 'the name server was not ready');
  return names;
};

/** Each way as `transport place faults`. */
const ways = (context, uri) => check(context, 'a', [uri]).map(({ address, transport, faults }) =>
  [transport, address?.split(':')[1], ...faults].filter(Boolean).join(' '));

addCase('tools', 'names-srv', async (context) => {
  new Network({ a: 'symmetric' });
  await Server.start(context, PLACES);
  const names = await nameServer(context);
  equal(ways(context, `turns:${NAME}`), ['tls 5349 reach:port-closed', 'tls 443'], 'the usual port, and the one of the record');
  // What the record tells once more is walked once.
  equal(ways(context, `turn:${NAME}`), ['udp 3478', 'udp 443'], 'the name\'s own place and the other one');
  equal(ways(context, `turn:${NAME}?transport=tcp`), ['tcp 3478'], 'a name without a record');
  const asked = names.output();
  equal(ways(context, `turns:${NAME}:443`), ['tls 443'], 'a port that is said');
  must(!names.output().slice(asked.length).includes('_turns'), 'records were asked for in spite of a port');
  return 'SRV records are followed, and not where the URI has a port';
});

addCase('tools', 'names-srv-only', async (context) => {
  new Network({ a: 'symmetric' });
  await Server.start(context, PLACES);
  await nameServer(context);
  equal(ways(context, `turn:${BARE}`), ['udp 3478 resolve:srv-only'], 'a name without an address');
  equal(ways(context, `turn:${BARE}?transport=tcp`), ['resolve:srv-target-unresolved'], 'a target that is gone');
  equal(ways(context, `turns:${BARE}`), ['resolve:srv-no-service'], 'a service that there is not');
  equal(ways(context, `turn:gone.${BARE}`), ['resolve:name-unresolved'], 'a name that there is not');
  return 'told apart';
});
