// Headless Chromium: two peer connections in one page over each transport, relay candidates only, messages over a data
// channel and back. Driven through its debugging pipe, without a package. Called with one JSON argument; the last line is a
// JSON object of facts, exit status 1 tells failure.
'use strict';
const { spawn } = require('child_process');
const { mkdirSync } = require('fs');
const calls = require('./call.cjs');

const told = JSON.parse(process.argv[2]);
let browser;
const fail = (why) => {
  console.log(why);
  if (browser) browser.kill('SIGKILL');
  process.exit(1);
};
process.on('uncaughtException', (error) => fail(String(error).split('\n')[0]));
setTimeout(() => fail('not done within 60 s'), 60000);

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
  const expression = `(${calls})(${JSON.stringify(told)})`;
  const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) fail(exceptionDetails.exception.description.split('\n')[0]);
  console.log(JSON.stringify(result.value));
  browser.removeAllListeners('exit');
  browser.kill('SIGKILL');
  process.exit(0);
})();
