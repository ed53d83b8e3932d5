// What every case needs: a register of cases, child processes in a namespace, the server under test, a directory for it all.
// Nothing here has to clean up behind a killed run: `main.mjs` gave it namespaces of its own, which end with it.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export const CASES = [];

/** Registers a case; `check(context)` returns the facts to print, or throws. Cases of one lane run one after the other. */
export const addCase = (lane, name, check) => CASES.push({ lane, name, check });

/** Fails the case with these words unless `fact` holds. */
export const must = (fact, words) => {
  if (!fact) throw new Error(words);
};

export const equal = (found, expected, what) =>
  must(JSON.stringify(found) === JSON.stringify(expected), `${what}: ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Looks again until `look` returns something true; the words say what did not come. */
export const eventually = async (look, words, seconds = 15) => {
  for (const end = Date.now() + seconds * 1000; ; await pause(30)) {
    const found = await look();
    if (found) return found;
    must(Date.now() < end, `${words} within ${seconds} s`);
  }
};

/** Runs a command to its end and returns its standard output. */
export const command = (words, { input, status = 0 } = {}) => {
  const done = spawnSync(words[0], words.slice(1), { input, encoding: 'utf8', timeout: 30000 });
  if (done.error) throw done.error;
  must(done.status === status, `${words.join(' ')}: status ${done.status}: ${done.stderr.trim()}`);
  return done.stdout;
};

/** Directories for whoever needs one. */
export class Scratch {
  constructor(root) {
    this.root = root;
    this.count = 0;
  }

  directory(name) {
    this.count += 1;
    const path = join(this.root, `${this.count}-${name}`);
    mkdirSync(path);
    return path;
  }
}

/** A child process inside a network namespace; its output goes to a file. */
export class Process {
  constructor(space, words, { directory, env = {}, pipes = 0 }) {
    this.log = join(directory, 'output.log');
    const log = openSync(this.log, 'a');
    const stdio = ['ignore', log, log, ...Array(pipes).fill('pipe')];
    const inside = ['netns', 'exec', space, ...words];
    this.name = basename(words[0]);
    this.child = spawn('ip', inside, { stdio, cwd: directory, env: { ...process.env, ...env }, detached: true });
    closeSync(log);
    this.ended = new Promise((resolve) => {
      this.child.on('error', resolve);
      this.child.on('exit', (code, signal) => resolve(signal ?? code));
    });
    this.running = true;
    this.ended.then(() => { this.running = false; });
  }

  output() {
    return readFileSync(this.log, 'utf8');
  }

  /** Ends it and all that it started. */
  async stop(signal = 'SIGKILL') {
    if (this.running) process.kill(-this.child.pid, signal);
    await this.ended;
  }
}

export const USER = 'alice';
export const PASSWORD = 'wonder';
export const SECRET = 'north-of-the-wall';
export const NAME = 'turn.example.test';

/** The server under test, with the certificate of the run. Peers in the networks of the namespaces are let in. */
export class Server extends Process {
  static async start(context, flags, { space = 'server', config } = {}) {
    const directory = context.scratch.directory('server');
    const ready = join(directory, 'ready.json');
    const words = [
      context.binary, ...(config ? ['--config', config] : []), '--user', `${USER}:${PASSWORD}`, '--secret', SECRET,
      '--realm', 'example.test', '--workers', '2', '--cert', context.certificates.chain, '--key', context.certificates.key,
      ...['203.0.113.0/24', '198.51.100.0/24', '192.0.2.0/24'].flatMap((network) => ['--allow-peer', network]),
      '--admin-socket', 'off', '--ready-file', ready, ...flags,
    ];
    const env = { HOME: directory, XDG_STATE_HOME: directory, STATE_DIRECTORY: directory };
    const server = new Server(space, words, { directory, env });
    server.directory = directory;
    context.processes.push(server);
    server.places = await eventually(() => {
      must(server.running, `the server ended at its start: ${server.output().trim().split('\n').at(-1)}`);
      try {
        return JSON.parse(readFileSync(ready, 'utf8'));
      } catch {
        return null;
      }
    }, 'the server was not ready', 30);
    return server;
  }

  /** The lines of its log in which something went wrong that must not. */
  trouble() {
    return this.output().split('\n').filter((line) => /\bERROR\b|panicked/.test(line));
  }
}

/** A root of the run's own and a leaf for the server's name and address. */
export const issueCertificates = (scratch) => {
  const directory = scratch.directory('certificates');
  const at = (name) => join(directory, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30'];
  command(['openssl', 'req', '-x509', ...key, '-subj', '/CN=root of the run', '-keyout', at('root.key'), '-out', at('root.pem'),
    '-addext', 'keyUsage=critical,keyCertSign']);
  command(['openssl', 'req', '-x509', ...key, '-CA', at('root.pem'), '-CAkey', at('root.key'), '-subj', `/CN=${NAME}`,
    '-keyout', at('leaf.key'), '-out', at('leaf.pem'), '-addext', `subjectAltName=DNS:${NAME},IP:203.0.113.10`,
    '-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=serverAuth']);
  return { root: at('root.pem'), chain: at('leaf.pem'), key: at('leaf.key') };
};
