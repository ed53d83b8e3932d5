// How the page gets its iceServers: from the server, with a key.

import { h } from './dom.js';
import { t } from './i18n.js';

/** How long before its end a credential is not used any more, in milliseconds. */
const SPARE = 60_000;

export class Door {
  #key = session('key');
  #kept;

  get key() {
    return this.#key;
  }

  set key(key) {
    this.#key = key.trim();
    this.#kept = undefined;
    session('key', this.#key);
  }

  /**
   * The iceServers. Asks the person for a key when there is none, or a wrong one.
   * Throws an Error whose message is for people.
   */
  async ice() {
    if (this.#kept && this.#kept.until > Date.now()) return this.#kept.servers;
    let wrong = false;
    for (;;) {
      const answer = await this.#ask();
      if (answer.ok) return this.#keep(await answer.json());
      if (answer.status !== 401 && answer.status !== 403) throw new Error(await refusal(answer));
      this.key = keyIn(await askForKey(wrong || this.#key !== ''));
      wrong = true;
    }
  }

  async #ask() {
    let headers;
    try {
      headers = new Headers(this.#key ? { Authorization: `Bearer ${this.#key}` } : {});
    } catch {
      // What no header can carry is nobody's key.
      return { ok: false, status: 401 };
    }
    try {
      return await fetch(new URL('ice', import.meta.url), { headers, cache: 'no-store' });
    } catch {
      throw new Error(t('door.silent'));
    }
  }

  #keep({ iceServers }) {
    const ends = iceServers.map(({ username }) => Number.parseInt(username, 10) * 1000).filter(Number.isFinite);
    this.#kept = { servers: iceServers, until: Math.min(...ends, Date.now() + 3_600_000) - SPARE };
    return iceServers;
  }
}

async function refusal(answer) {
  if (answer.status === 429) return t('door.too-many');
  const text = (await answer.text()).trim().slice(0, 200);
  return t('door.refused', { status: answer.status, text });
}

/** Kept for this window only: a key is a secret. */
function session(name, value) {
  try {
    if (value === undefined) return sessionStorage.getItem(name) ?? '';
    sessionStorage.setItem(name, value);
  } catch { /* Then it is asked for again after a reload. */ }
  return value ?? '';
}

/** The key in what was pasted: a link to this page that ends with it, or the key alone. */
function keyIn(pasted) {
  const link = URL.canParse(pasted) ? new URL(pasted) : undefined;
  return new URLSearchParams(link?.hash.slice(1)).get('key') ?? pasted;
}

function askForKey(wrong) {
  const field = h('input', {
    type: 'password', required: true, autocomplete: 'off', spellcheck: 'false', class: 'wide', label: 'door.key', hint: 'door.key',
  });
  const form = h('form', { method: 'dialog' },
    h('h2', { say: 'door.title' }),
    h('p', { say: 'door.why' }),
    h('p', { say: 'door.where' }),
    wrong && h('p', { class: 'note bad', say: 'door.wrong' }),
    field,
    h('div', { class: 'row end' },
      h('button', { type: 'button', class: 'quiet', say: 'door.cancel', on: { click: () => dialog.close() } }),
      h('button', { type: 'submit', class: 'main', value: 'key', say: 'door.enter' })));
  const dialog = h('dialog', { class: 'card' }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (dialog.returnValue === 'key' && field.value.trim()) resolve(field.value);
      else reject(new Error(t('door.none')));
    });
  });
}
