// Headless Chromium in a namespace, driven by the DevTools protocol through its debugging pipe, without a package.
import { writeFileSync } from 'node:fs';

import { NAME, Process, command, eventually, must } from './harness.mjs';
import { SERVER } from './network.mjs';

const PROGRAM = process.env.CHROMIUM ?? 'chromium';
// Nobody but the server has a name, and nothing is asked for that Chromium wants for itself.
// WebRTC asks for names with the dot of the root behind them when it goes by UDP.
const RULES = `MAP ${NAME} ${SERVER}, MAP ${NAME}. ${SERVER}, MAP * ~NOTFOUND, EXCLUDE ${SERVER}, EXCLUDE localhost, EXCLUDE 127.0.0.1`;
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-features=LocalNetworkAccessChecks', '--mute-audio',
  '--use-fake-device-for-media-stream=fps=20', '--use-fake-ui-for-media-stream', '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows', '--autoplay-policy=no-user-gesture-required',
  `--host-resolver-rules=${RULES}`, '--remote-debugging-pipe',
];

export class Browser extends Process {
  #waiting = new Map();
  #pages = new Map();
  #sent = 0;
  #input = '';

  /** Starts one in a namespace. It trusts the root of the run, by the data base in the home that it gets. */
  static async start(context, space) {
    const home = context.scratch.directory(`chromium-${space}`);
    const store = `${home}/.pki/nssdb`;
    command(['mkdir', '-p', store]);
    command(['certutil', '-d', `sql:${store}`, '-N', '--empty-password']);
    command(['certutil', '-d', `sql:${store}`, '-A', '-t', 'C,,', '-n', 'root', '-i', context.certificates.root]);
    const words = [PROGRAM, ...FLAGS, `--user-data-dir=${home}/profile`, 'about:blank'];
    const browser = new Browser(space, words, { directory: home, env: { HOME: home, XDG_RUNTIME_DIR: home }, pipes: 2 });
    context.processes.push(browser);
    browser.child.stdio[3].on('error', () => {});
    browser.child.stdio[4].on('data', (bytes) => browser.#read(bytes));
    browser.ended.then((how) => browser.#over(how));
    await browser.ask('Browser.getVersion');
    return browser;
  }

  /** Without what it has to say about a machine that has no screen, no sound and no message bus. */
  output() {
    return super.output().split('\n').filter((line) => !/dbus|ALSA|alsa/.test(line)).join('\n');
  }

  ask(method, params = {}, sessionId = undefined) {
    this.#sent += 1;
    const id = this.#sent;
    return new Promise((answered, refused) => {
      if (!this.running) return refused(new Error('the browser has ended'));
      this.#waiting.set(id, { answered, refused });
      this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  #read(bytes) {
    const messages = (this.#input + bytes).split('\0');
    this.#input = messages.pop();
    for (const { id, error, result, method, params, sessionId } of messages.map((text) => JSON.parse(text))) {
      if (method) this.#pages.get(sessionId)?.heard(method, params);
      const { answered, refused } = this.#waiting.get(id) ?? {};
      this.#waiting.delete(id);
      if (error) refused?.(new Error(error.message));
      else answered?.(result);
    }
  }

  #over(how) {
    for (const { refused } of this.#waiting.values()) refused(new Error(`the browser ended with ${how}`));
    this.#waiting.clear();
  }

  /** A new page. With `body`, that is what it shows, as from a secure origin without a web server. */
  async open(url, { body, phone = false, dark = false, language } = {}) {
    const { targetId } = await this.ask('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.ask('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId, body);
    this.#pages.set(sessionId, page);
    await page.ask('Page.enable');
    await page.ask('Runtime.enable');
    await page.ask('Log.enable');
    const size = phone ? { width: 390, height: 844, deviceScaleFactor: 2, mobile: true } : { width: 1200, height: 900, deviceScaleFactor: 1, mobile: false };
    await page.ask('Emulation.setDeviceMetricsOverride', size);
    await page.ask('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
    if (language) await page.ask('Emulation.setLocaleOverride', { locale: language });
    if (body !== undefined) await page.ask('Fetch.enable', { patterns: [{ urlPattern: '*' }] });
    const { errorText } = await page.ask('Page.navigate', { url });
    must(!errorText, `${url} cannot be opened: ${errorText}`);
    await page.loaded;
    return page;
  }
}

export class Page {
  /** What went wrong in it: uncaught exceptions, errors on the console, what a policy refused. */
  problems = [];
  #browser;
  #session;
  #body;
  #arrived;

  constructor(browser, session, body) {
    this.#browser = browser;
    this.#session = session;
    this.#body = body;
    this.loaded = new Promise((resolve) => { this.#arrived = resolve; });
  }

  ask(method, params) {
    return this.#browser.ask(method, params, this.#session);
  }

  heard(method, params) {
    if (method === 'Page.loadEventFired') this.#arrived();
    if (method === 'Fetch.requestPaused') {
      const headers = [{ name: 'content-type', value: 'text/html; charset=utf-8' }];
      const body = Buffer.from(this.#body).toString('base64');
      this.ask('Fetch.fulfillRequest', { requestId: params.requestId, responseCode: 200, responseHeaders: headers, body }).catch(() => {});
    }
    if (method === 'Runtime.exceptionThrown') {
      const { exception, text } = params.exceptionDetails;
      this.problems.push(exception?.description?.split('\n')[0] ?? text);
    }
    if (method === 'Log.entryAdded' && params.entry.level === 'error') this.problems.push(`${params.entry.text} ${params.entry.url ?? ''}`.trim());
  }

  /** Evaluates an expression in the page, and what it promises. */
  async evaluate(expression) {
    const told = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await this.ask('Runtime.evaluate', told);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description?.split('\n')[0] ?? exceptionDetails.text);
    return result.value;
  }

  /** Calls a function in the page. */
  call(inPage, ...values) {
    return this.evaluate(`(${inPage})(${values.map((value) => JSON.stringify(value)).join(', ')})`);
  }

  /** Looks until the expression is something true in the page. */
  until(expression, words, seconds) {
    return eventually(() => this.evaluate(expression), words, seconds);
  }

  /** Keeps a picture, when somebody wants to look at them. */
  async picture(name) {
    const directory = process.env.BROWSER_SCREENSHOTS;
    if (!directory) return;
    const { data } = await this.ask('Page.captureScreenshot', { captureBeyondViewport: true });
    writeFileSync(`${directory}/${name}.png`, Buffer.from(data, 'base64'));
  }

  async close() {
    await this.ask('Page.close');
  }
}
