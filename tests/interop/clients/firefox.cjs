// Headless Firefox: what `chromium.cjs` does, driven through Marionette, without a package. Called with one JSON argument;
// the last line is a JSON object of facts, exit status 1 tells failure.
'use strict';
const { spawn } = require('child_process');
const { existsSync, readFileSync, writeFileSync } = require('fs');
const { connect } = require('net');
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

const preferences = {
  'marionette.port': 0,
  // Without it neither a server nor a peer may be on this host.
  'media.peerconnection.ice.loopback': true,
  // It takes turns: with names only.
  'network.dns.localDomains': told.name,
  'network.dns.disableIPv6': true,
  'app.update.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'toolkit.telemetry.enabled': false,
  // Whatever else it looks for on the net, it does not find.
  'network.proxy.type': 1,
  'network.proxy.no_proxies_on': told.name,
  'network.proxy.http': '127.0.0.1',
  'network.proxy.http_port': 9,
  'network.proxy.ssl': '127.0.0.1',
  'network.proxy.ssl_port': 9,
};
const lines = Object.entries(preferences).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`);
writeFileSync(`${told.directory}/user.js`, lines.join('\n'));
browser = spawn(told.browser, ['--headless', '--no-remote', '--marionette', '--profile', told.directory], {
  stdio: 'ignore',
  env: { ...process.env, HOME: told.directory, XDG_RUNTIME_DIR: told.directory, MOZ_CRASHREPORTER_DISABLE: '1' },
});
browser.on('error', (error) => fail(`${told.browser}: ${error.message}`));
browser.on('exit', (code, signal) => fail(`the browser ended with ${code ?? signal}`));

const port = async () => {
  const file = `${told.directory}/MarionetteActivePort`;
  for (;;) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    if (/^\d+$/.test(text)) return Number(text);
    await new Promise((later) => setTimeout(later, 20));
  }
};

// Messages are JSON behind their length and a colon: [0, id, command, parameters] and [1, id, error, result].
async function marionette() {
  const socket = connect(await port(), '127.0.0.1');
  const waiting = new Map();
  let input = Buffer.alloc(0);
  let sent = 0;
  socket.on('data', (bytes) => {
    input = Buffer.concat([input, bytes]);
    for (;;) {
      const colon = input.indexOf(':');
      const end = colon + 1 + Number(input.subarray(0, colon));
      if (colon < 0 || input.length < end) return;
      const message = JSON.parse(input.subarray(colon + 1, end));
      input = input.subarray(end);
      // The first one is a greeting.
      if (!Array.isArray(message)) continue;
      const [, id, error, result] = message;
      const { answered, refused } = waiting.get(id);
      if (error) refused(new Error(error.message));
      else answered(result);
    }
  });
  return (command, parameters) => new Promise((answered, refused) => {
    sent += 1;
    waiting.set(sent, { answered, refused });
    const message = JSON.stringify([0, sent, command, parameters]);
    socket.write(`${Buffer.byteLength(message)}:${message}`);
  });
}

(async () => {
  const ask = await marionette();
  await ask('WebDriver:NewSession', {});
  const script = `const [told, done] = arguments; (${calls})(told).then(done, (error) => done({ failed: String(error) }));`;
  const { value } = await ask('WebDriver:ExecuteAsyncScript', { script, args: [told], timeout: 55000 });
  if (value.failed) fail(value.failed);
  console.log(JSON.stringify(value));
  browser.removeAllListeners('exit');
  browser.kill('SIGKILL');
  process.exit(0);
})();
