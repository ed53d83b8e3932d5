// `turnwire nat` and `turnwire check` where they are needed: behind NATs and firewalls.
import { spawnSync } from 'node:child_process';

import { SECRET, Server, addCase, equal, must } from './harness.mjs';
import { Network, SECOND, SERVER } from './network.mjs';

/** What the tool finds, in JSON, when it runs in a namespace. */
const found = (context, space, words) => {
  const inside = ['netns', 'exec', space, context.binary, ...words, '--json'];
  const done = spawnSync('ip', inside, { encoding: 'utf8', timeout: 50000 });
  must(done.stdout, `turnwire ${words.join(' ')}: ${done.status ?? done.signal}: ${done.stderr}`);
  return JSON.parse(done.stdout);
};

export const PLACES = ['--listen', `${SERVER}:3478`, '--listen', `${SERVER}:443`, '--relay-ip', SERVER];

// Mapping, filtering, hairpin, and whether two such users need a relay (null: that there is nothing to say).
const KINDS = {
  none: ['no NAT and no firewall for UDP', 'endpoint-independent', 'endpoint-independent', null, false],
  firewall: ['no NAT, and a firewall', 'endpoint-independent', 'address-and-port-dependent', null, false],
  'full-cone': ['a full cone NAT', 'endpoint-independent', 'endpoint-independent', true, false],
  'restricted-cone': ['a restricted cone NAT', 'endpoint-independent', 'address-dependent', false, false],
  'port-restricted-cone': ['a port restricted cone NAT', 'endpoint-independent', 'address-and-port-dependent', false, false],
  'address-dependent': ['a symmetric NAT', 'address-dependent', 'address-and-port-dependent', false, true],
  symmetric: ['a symmetric NAT', 'address-and-port-dependent', 'address-and-port-dependent', false, true],
};

for (const [kind, expected] of Object.entries(KINDS)) {
  addCase('tools', `nat-${kind}`, async (context) => {
    new Network({ a: kind });
    await Server.start(context, [...PLACES, '--nat-alternate', `${SECOND}:3479`]);
    const nat = found(context, 'a', ['nat', `stun:${SERVER}:3478`]);
    const { mapping, filtering, hairpin, two_such_need_turn: need } = nat;
    equal([nat.kind, mapping, filtering, hairpin, need], expected, 'what was found');
    return nat.kind;
  });
}

addCase('tools', 'nat-udp-blocked', async (context) => {
  const network = new Network({ a: 'port-restricted-cone' });
  network.only('a', ['meta l4proto udp']);
  await Server.start(context, PLACES);
  const done = spawnSync('ip', ['netns', 'exec', 'a', context.binary, 'nat', `stun:${SERVER}:3478`], { encoding: 'utf8', timeout: 50000 });
  equal([done.status, done.stderr.includes('is UDP to it open')], [1, true], `status and words (${done.stderr.trim()})`);
  return done.stderr.trim();
});

const URIS = {
  udp: `turn:${SERVER}:3478`,
  tcp: `turn:${SERVER}:3478?transport=tcp`,
  tls: `turns:${SERVER}:443`,
  dtls: `turns:${SERVER}:443?transport=udp`,
};

/** Each way with the faults that were found on it, but for what is only a note. */
export const check = (context, space, uris) => {
  const words = ['check', ...uris, '--secret', SECRET, '--ca', context.certificates.root, '--packets', '5'];
  const names = (stages) => stages.filter(({ fault }) => fault && fault !== 'no-ipv6-relay').map(({ stage, fault }) => `${stage}:${fault}`);
  return found(context, space, words).ways.map(({ stages, ...way }) => ({ ...way, faults: names(stages) }));
};

const faults = (context, space, uris = Object.values(URIS)) => check(context, space, uris).map((way) => way.faults);

for (const kind of ['none', 'port-restricted-cone', 'symmetric']) {
  addCase('tools', `check-${kind}`, async (context) => {
    new Network({ a: kind });
    await Server.start(context, PLACES);
    equal(faults(context, 'a'), [[], [], [], []], 'faults by UDP, TCP, TLS and DTLS');
    return 'udp, tcp, tls and dtls work';
  });
}

addCase('tools', 'check-udp-blocked', async (context) => {
  const network = new Network({ a: 'symmetric' });
  network.only('a', ['meta l4proto udp']);
  await Server.start(context, PLACES);
  equal(faults(context, 'a', [URIS.udp, URIS.tcp, URIS.tls]), [['binding:udp-blocked'], [], []], 'faults by UDP, TCP and TLS');
  return 'it is UDP, and the rest works';
});

// As security groups and `ufw` do it: answers come in, and what is for the listeners.
const LISTENERS = 'udp dport { 443, 3478 } accept; tcp dport { 443, 3478 } accept';

const outside = ['outside:relay-ports-firewalled'];

addCase('tools', 'check-relay-ports-closed', async (context) => {
  new Network({ a: 'port-restricted-cone' }).filterServer(`iifname "lo" accept; ct state established,related accept; ${LISTENERS}; drop`);
  await Server.start(context, PLACES);
  equal(faults(context, 'a'), [outside, outside, outside, outside], 'faults by UDP, TCP, TLS and DTLS');
  return outside[0];
});

const CLOUD = ['--listen', '10.0.0.10:3478', '--listen', '10.0.0.10:443', '--relay-ip', '10.0.0.10'];

addCase('tools', 'check-cloud', async (context) => {
  new Network({ a: 'symmetric', gate: true });
  await Server.start(context, [...CLOUD, '--external-ip', `${SERVER}/10.0.0.10`]);
  equal(faults(context, 'a'), [[], [], [], []], 'faults by UDP, TCP, TLS and DTLS');
  return 'a server behind a 1:1 NAT works';
});

addCase('tools', 'check-cloud-relay-ports-closed', async (context) => {
  new Network({ a: 'symmetric', gate: true }).openGate(LISTENERS);
  await Server.start(context, [...CLOUD, '--external-ip', `${SERVER}/10.0.0.10`]);
  // Relays of one server reach each other all the same.
  equal(faults(context, 'a'), [outside, outside, outside, outside], 'faults by UDP, TCP, TLS and DTLS');
  return outside[0];
});

addCase('tools', 'check-cloud-private', async (context) => {
  new Network({ a: 'symmetric', gate: true });
  await Server.start(context, CLOUD);
  const address = ['address:relay-private'];
  equal(faults(context, 'a'), [address, address, address, address], 'faults by UDP, TCP, TLS and DTLS');
  return address[0];
});
