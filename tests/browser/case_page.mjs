// The product's own page, in a browser behind a NAT: what it says of a server, of the NAT, and of a call.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { PLACES } from './case_tools.mjs';
import { Browser } from './chromium.mjs';
import { NAME, Server, addCase, equal, eventually, must } from './harness.mjs';
import { Network } from './network.mjs';

const KEY = 'a-key-of-the-page-7a6d4953';
const TOKEN = 'a-token-of-the-operator-0b6d4953';
const FILE = 10 << 20;
const FRAMES = 40;
const UDP = `turn:${NAME}:3478?transport=udp`;
const TCP = `turn:${NAME}:3478?transport=tcp`;
const TLS = `turns:${NAME}:443?transport=tcp`;

/** A server with the page, which tells these URIs. */
const serve = (context, uris) => {
  const config = join(context.scratch.directory('config'), 'turnwire.toml');
  writeFileSync(config, `[web]\npage = true\nuris = ${JSON.stringify([`stun:${NAME}:3478`, ...uris])}\n[web.keys]\nbrowser = { secret = "${KEY}" }\n`
    + `[admin]\ntokens = ["${TOKEN}"]\n`);
  return Server.start(context, PLACES, { config });
};

/** The page, with its key, at one of its tabs. */
const open = (browser, tab, how) => browser.open(`https://${NAME}/#key=${KEY}&tab=${tab}`, how);

/** Clicks what comes to be there, and can be clicked. */
const click = async (page, selector) => {
  try {
    await page.until(`document.querySelector('${selector}')?.disabled === false`, selector, 20);
  } catch {
    throw new Error(`${selector} could not be clicked: ${page.problems.join('; ')}: ${await page.evaluate('document.body.innerHTML.slice(0, 2000)')}`);
  }
  await page.evaluate(`document.querySelector('${selector}').click()`);
};

/** Waits until a view is in one of these states. */
const reaches = async (page, view, states, seconds) => {
  const state = () => page.evaluate(`document.querySelector('.view-${view}')?.dataset.state`);
  try {
    return await eventually(async () => [states].flat().includes(await state()), view, seconds);
  } catch {
    throw new Error(`the tab ${view} is ${await state()} after ${seconds} s, not ${states}: ${await words(page)}`);
  }
};

const words = (page) => page.evaluate('document.querySelector("#views").innerText.replace(/\\s+/g, " ").slice(0, 600)');

/** Runs the Test tab: each way with how it went, the relay from outside, and the verdict. */
const test = async (page, name) => {
  await click(page, '#test-run');
  await reaches(page, 'test', ['good', 'warn', 'bad'], 55);
  await page.picture(name);
  return page.evaluate(`({
    verdict: document.querySelector('.view-test').dataset.state,
    ways: Object.fromEntries([...document.querySelectorAll('[data-lane]')].map(({ dataset }) => [dataset.way, dataset.state])),
    outside: document.querySelector('#test-outside')?.dataset.state ?? null,
  })`);
};

/** The page's own mistakes, and what its policy had to refuse. */
const sound = (page) => equal(page.problems, [], 'what went wrong in the page');

addCase('browsers', 'page-test', async (context) => {
  new Network({ a: 'symmetric' });
  await serve(context, [UDP, TCP, TLS]);
  const page = await open(await Browser.start(context, 'a'), 'test');
  const expected = { verdict: 'good', ways: { udp: 'good', tcp: 'good', tls: 'good' }, outside: 'good' };
  equal(await test(page, 'test-good'), expected, 'what the page has found');
  sound(page);
  return 'the page relays by udp, tcp and tls';
});

addCase('browsers', 'page-key', async (context) => {
  new Network({ a: 'symmetric' });
  await serve(context, [UDP]);
  const browser = await Browser.start(context, 'a');
  const page = await browser.open(`https://${NAME}/#nat`);
  await click(page, '#nat-run');
  const enter = async (text) => {
    await page.until('document.querySelector("dialog[open] input")', 'nobody asks for the key', 20);
    await page.call('(text) => { document.querySelector("dialog[open] input").value = text; }', text);
    await click(page, 'dialog[open] button[type=submit]');
  };
  await page.until('document.querySelector("dialog[open]")?.innerText.includes("test it here")', 'the page does not say where the key is', 20);
  await page.picture('key');
  // No header carries this one.
  await enter('열쇠가-아닌-것');
  await page.until('document.querySelector("dialog[open] .bad")', 'a key that is none is not refused', 20);
  await enter('another-key-that-is-none');
  await page.until('document.querySelector("dialog[open] .bad")', 'a wrong key is taken', 20);
  await enter(`https://${NAME}/#key=${KEY}`);
  await reaches(page, 'nat', 'symmetric', 45);
  return 'the page asks for the key, and takes it out of a pasted link';
});

addCase('browsers', 'page-test-udp-blocked', async (context) => {
  const network = new Network({ a: 'symmetric' });
  network.only('a', ['meta l4proto udp']);
  await serve(context, [UDP, TLS]);
  const page = await open(await Browser.start(context, 'a'), 'test', { phone: true, language: 'ko-KR', dark: true });
  const expected = { verdict: 'warn', ways: { udp: 'bad', tls: 'good' }, outside: 'info' };
  equal(await test(page, 'test-udp-blocked'), expected, 'what the page has found');
  sound(page);
  return 'the page says that it is UDP';
});

addCase('browsers', 'page-test-relay-ports-closed', async (context) => {
  const network = new Network({ a: 'symmetric' });
  network.filterServer('iifname "lo" accept; ct state established,related accept; udp dport 49152-65535 drop');
  await serve(context, [UDP]);
  const page = await open(await Browser.start(context, 'a'), 'test', { phone: true });
  const expected = { verdict: 'warn', ways: { udp: 'good' }, outside: 'bad' };
  equal(await test(page, 'test-relay-ports-closed'), expected, 'what the page has found');
  const verdict = await page.evaluate('document.querySelector("#test-verdict").innerText');
  must(verdict.includes('not reached from outside'), `the verdict says nothing of it: ${verdict}`);
  sound(page);
  return 'the page says that nothing reaches the relay\'s ports';
});

for (const kind of ['none', 'port-restricted-cone', 'symmetric']) {
  const verdict = { none: 'open', 'port-restricted-cone': 'cone', symmetric: 'symmetric' }[kind];
  addCase('browsers', `page-nat-${kind}`, async (context) => {
    new Network({ a: kind });
    await serve(context, [UDP]);
    const page = await open(await Browser.start(context, 'a'), 'nat');
    await click(page, '#nat-run');
    await reaches(page, 'nat', verdict, 45);
    await page.picture(`nat-${kind}`);
    if (kind === 'symmetric') {
      // Where nobody is: that nothing else is seen there proves nothing.
      await page.call('() => { document.querySelector("#nat-second").value = "stun:203.0.113.99:3478"; }');
      await click(page, '#nat-run');
      await reaches(page, 'nat', 'running');
      await reaches(page, 'nat', verdict, 45);
      must(await page.evaluate('document.querySelector("#nat-silent") !== null'), 'the page does not say that the second STUN server is silent');
    }
    sound(page);
    return verdict;
  });
}

/** The operator's view: nothing for another token, and the sessions of the calls that are. */
const watch = async (browser, name) => {
  const page = await open(browser, 'server');
  const enter = async (token) => {
    await page.until('document.querySelector("#server-token")', 'nobody asks for the token');
    await page.call('(token) => { document.querySelector("#server-token").value = token; }', token);
    await click(page, '#server-in');
  };
  await enter(`not ${TOKEN}`);
  await page.until('[...document.querySelectorAll(".view-server [role=alert]")].some((note) => !note.hidden)', 'a wrong token was not refused');
  equal(await page.evaluate('document.querySelectorAll("[data-session]").length'), 0, 'sessions that are seen with a wrong token');
  await enter(TOKEN);
  await reaches(page, 'server', 'in', 20);
  await page.until('document.querySelectorAll(".view-server [data-session]").length >= 1', 'the call\'s sessions are not seen', 20);
  await page.picture(name);
  return page;
};

/** Two browsers on the page, one of which was sent the other's link. */
const meet = async (a, b) => {
  const first = await open(a, 'call');
  await click(first, '#call-start');
  const link = await first.until('document.querySelector("#call-link").value', 'there is no link to the room', 20);
  must(!link.includes(KEY), 'the link carries the key');
  const second = await b.open(link);
  await click(second, '#call-start');
  return [first, second];
};

addCase('browsers', 'page-call', async (context) => {
  new Network({ a: 'symmetric', b: 'symmetric' });
  await serve(context, [UDP]);
  const browsers = await Promise.all(['a', 'b'].map((side) => Browser.start(context, side)));
  const pages = await meet(...browsers);
  for (const page of pages) await reaches(page, 'call', 'connected', 40);
  const seen = (page) => page.evaluate('({ ...document.querySelector(".view-call").dataset })');
  for (const page of pages) {
    await eventually(async () => Number((await seen(page)).frames) >= FRAMES, 'the other side\'s picture did not come', 30);
    must(['own', 'other', 'both'].includes((await seen(page)).way), `it went ${(await seen(page)).way}`);
  }
  await click(pages[0], '#call-file-sample');
  const hash = 'document.querySelector(\'[data-file][data-state="intact"] .address\')?.textContent';
  const hashes = await Promise.all(pages.map((page) => page.until(hash, 'the file did not come', 40)));
  equal(hashes[0], hashes[1], 'the file\'s hash here and there');
  // What one has sent has gone through one relay or the other, or both.
  const carried = (page, count, key) => page.evaluate(`[...document.querySelectorAll('#call-carried [data-count="${count}"]')]
    .reduce((sum, { dataset }) => sum + Number(dataset["${key}"]), 0)`);
  for (const [page, key] of [[pages[0], 'sent'], [pages[1], 'received']]) {
    for (const count of ['page', 'server']) {
      await eventually(async () => await carried(page, count, key) > FILE, `the ${count} did not count the file as ${key}`, 20);
    }
  }
  await pages[0].picture('call');
  for (const page of pages) sound(page);
  await watch(browsers[0], 'server');
  return `relayed (${(await seen(pages[0])).way}), picture and file intact, counted by page and server; the operator sees it`;
});
