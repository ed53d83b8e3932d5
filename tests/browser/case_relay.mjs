// Calls of a page of the tests' own between two browsers that have nothing but the relay.
import { Browser } from './chromium.mjs';
import { Call } from './calls.mjs';
import { PLACES } from './case_tools.mjs';
import { NAME, PASSWORD, Server, USER, addCase, equal, must, pause } from './harness.mjs';
import { Network, SERVER } from './network.mjs';

const FILE = 10_000_000;
const FRAMES = 40;

const WAYS = {
  udp: { uri: `turn:${SERVER}:3478?transport=udp`, blocked: [] },
  // As in many offices: a relay over UDP could not be the reason why it works.
  tcp: { uri: `turn:${SERVER}:3478?transport=tcp`, blocked: ['meta l4proto udp'] },
  tls: { uri: `turns:${NAME}:443?transport=tcp`, blocked: ['meta l4proto udp', 'tcp dport != 443'] },
};

const twoBrowsers = (context) => Promise.all(['a', 'b'].map((side) => Browser.start(context, side)));

for (const [way, { uri, blocked }] of Object.entries(WAYS)) {
  addCase('browsers', `relay-${way}`, async (context) => {
    const network = new Network({ a: 'symmetric', b: 'symmetric' });
    await Server.start(context, PLACES);
    for (const side of ['a', 'b']) network.only(side, blocked);
    const call = await Call.between(await twoBrowsers(context), [uri]);
    await call.connected();
    for (const { local, remote, protocol } of await call.facts()) {
      equal([local, remote, protocol], ['relay', 'relay', way], 'the selected pair');
    }
    const frames = await call.sees(FRAMES);
    await call.file(FILE);
    equal(['a', 'b'].map((side) => network.shortLived(side)), [0, 0], 'packets of the server that no second router lets pass');
    return `relay to relay over ${way}, ${frames.join(' and ')} frames, ${FILE} bytes intact`;
  });
}

// What the relay cases stand on: behind such routers there is no other way, and behind these there is.
addCase('browsers', 'direct-cone', async (context) => {
  const network = new Network({ a: 'port-restricted-cone', b: 'port-restricted-cone' });
  await Server.start(context, PLACES);
  const call = await Call.between(await twoBrowsers(context), [`stun:${SERVER}:3478`], { policy: 'all', media: false });
  await call.connected();
  must((await call.facts()).every(({ local }) => local !== 'relay'), 'it went through the relay');
  await call.file(1_000_000);
  equal(network.shortLived('a'), 0, 'packets of the server that no second router lets pass');
  return 'no relay, and none needed';
});

addCase('browsers', 'direct-symmetric', async (context) => {
  new Network({ a: 'symmetric', b: 'symmetric' });
  await Server.start(context, PLACES);
  const call = await Call.between(await twoBrowsers(context), [`stun:${SERVER}:3478`], { policy: 'all', media: false });
  await pause(4000);
  must((await call.facts()).every(({ state }) => state !== 'connected'), 'they met without a relay: these are no symmetric NATs');
  return 'no way without a relay';
});

// One side has its relay, the other anything: its private addresses, where the server has no way to, come first.
addCase('browsers', 'relay-mixed', async (context) => {
  new Network({ a: 'symmetric', b: 'port-restricted-cone' });
  await Server.start(context, PLACES);
  const call = await Call.between(await twoBrowsers(context), [`turn:${SERVER}:3478`], { policy: 'all' });
  await call.connected();
  const types = (await call.facts()).flatMap(({ local, remote }) => [local, remote]);
  must(types.includes('relay'), `a pair without a relay: ${types}`);
  const frames = await call.sees(FRAMES);
  return `${types.slice(0, 2).join('/')} and ${types.slice(2).join('/')}, ${frames.join(' and ')} frames`;
});

addCase('browsers', 'wrong-password', async (context) => {
  new Network({ a: 'symmetric', b: 'symmetric' });
  await Server.start(context, PLACES);
  const who = { username: USER, credential: `not ${PASSWORD}` };
  const uris = Object.values(WAYS).map(({ uri }) => uri);
  const call = await Call.between(await twoBrowsers(context), uris, { media: false, who });
  const [{ errors, state }] = await call.facts();
  must(state !== 'connected', 'a wrong password got a relay');
  const refused = uris.filter((uri) => errors.some((error) => error.startsWith(uri) && error.includes(': 401 ')));
  must(refused.length === uris.length, `401 for ${refused} only: ${errors}`);
  return `401 for ${refused.join(', ')}`;
});
