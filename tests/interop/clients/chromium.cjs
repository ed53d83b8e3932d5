// Headless Chromium: two peer connections in one page, relay candidates only, 200 messages each way over a data
// channel. Driven through its debugging pipe, without a package. Called with one JSON argument; the last line is a
// JSON object of facts, exit status 1 tells failure.
'use strict';
const { spawn } = require('child_process');
const { mkdirSync } = require('fs');

const told = JSON.parse(process.argv[2]);
let browser;
const fail = (why) => {
  console.log(why);
  if (browser) browser.kill('SIGKILL');
  process.exit(1);
};
process.on('uncaughtException', (error) => fail(String(error).split('\n')[0]));
setTimeout(() => fail('not done within 25 s'), 25000);

// Runs in the page.
async function call(told) {
  const options = {
    iceServers: [{ urls: told.urls, username: told.user, credential: told.password }],
    iceTransportPolicy: 'relay',
  };
  const [a, b] = [new RTCPeerConnection(options), new RTCPeerConnection(options)];
  const errors = [];
  for (const [from, to] of [[a, b], [b, a]]) {
    from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
    from.onicecandidateerror = (event) => errors.push(`${event.url}: ${event.errorCode} ${event.errorText}`);
  }
  const channel = a.createDataChannel('calls');
  const opened = new Promise((open) => { channel.onopen = open; });
  const other = new Promise((got) => { b.ondatachannel = (event) => got(event.channel); });
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const gone = new Promise((_, no) => setTimeout(() => no(new Error(`no connection: ${errors.join('; ') || 'no reason'}`)), 15000));
  await Promise.race([opened, gone]);
  const echo = await other;
  echo.onmessage = ({ data }) => echo.send(data);
  let back = 0;
  await Promise.race([gone, new Promise((done) => {
    channel.onmessage = ({ data }) => {
      if (data !== `${back} `.padEnd(1000, 'x')) errors.push(`message ${back} came back as another`);
      back += 1;
      if (back === told.messages) done();
    };
    for (let number = 0; number < told.messages; number += 1) channel.send(`${number} `.padEnd(1000, 'x'));
  })]);
  const ways = [];
  for (const peer of [a, b]) {
    const stats = await peer.getStats();
    const transport = [...stats.values()].find((entry) => entry.type === 'transport');
    const pair = stats.get(transport.selectedCandidatePairId);
    const local = stats.get(pair.localCandidateId);
    ways.push({ type: local.candidateType, protocol: local.relayProtocol, url: local.url });
  }
  a.close();
  b.close();
  return { back, ways, errors };
}

// A home of its own: Chromium takes root certificates from the NSS data base in it.
const profile = `${told.directory}/profile`;
mkdirSync(profile, { recursive: true });
const rules = `MAP ${told.name} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE [::1]`;
browser = spawn(told.browser, [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-features=LocalNetworkAccessChecks',
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--mute-audio',
  `--user-data-dir=${profile}`, `--host-resolver-rules=${rules}`, '--remote-debugging-pipe', 'about:blank',
], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: told.directory, XDG_RUNTIME_DIR: told.directory } });
browser.on('error', (error) => fail(`${told.browser}: ${error.message}`));
browser.on('exit', (code, signal) => fail(`the browser ended with ${code ?? signal}`));

const waiting = new Map();
let sent = 0;
let session;
const ask = (method, params = {}) => new Promise((answered, refused) => {
  sent += 1;
  waiting.set(sent, { answered, refused });
  browser.stdio[3].write(`${JSON.stringify({ id: sent, method, params, sessionId: session })}\0`);
});

let input = '';
browser.stdio[4].on('data', (bytes) => {
  const messages = (input + bytes).split('\0');
  input = messages.pop();
  for (const message of messages.map((text) => JSON.parse(text))) {
    if (message.method === 'Fetch.requestPaused') {
      // A page of a secure origin, without a web server.
      const { requestId } = message.params;
      ask('Fetch.fulfillRequest', { requestId, responseCode: 200, body: Buffer.from('<!doctype html>').toString('base64') });
    }
    const { answered, refused } = waiting.get(message.id) ?? {};
    waiting.delete(message.id);
    if (message.error) refused?.(new Error(message.error.message));
    else answered?.(message.result);
  }
});

(async () => {
  const { targetId } = await ask('Target.createTarget', { url: 'about:blank' });
  ({ sessionId: session } = await ask('Target.attachToTarget', { targetId, flatten: true }));
  await ask('Fetch.enable', { patterns: [{ urlPattern: '*' }] });
  await ask('Page.enable');
  await ask('Page.navigate', { url: 'https://harness.test/' });
  const expression = `(${call})(${JSON.stringify(told)})`;
  const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) fail(exceptionDetails.exception.description.split('\n')[0]);
  if (result.value.errors.length) fail(result.value.errors.join('; '));
  console.log(JSON.stringify(result.value));
  browser.removeAllListeners('exit');
  browser.kill('SIGKILL');
  process.exit(0);
})();
