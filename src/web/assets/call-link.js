// Signalling: what two browsers have to tell each other before they can talk directly. It goes over a WebSocket to the
// server, which passes it on. TURN knows nothing of it: any other way to carry a few hundred lines of text would do.

/** The messages that go from one browser to the other. */
const PASSED = ['offer', 'answer', 'new-ice-candidate'];

export class Refusal extends Error {
  /** `why` is the server's word for programs; `detail` its sentence. */
  constructor(why, detail) {
    super(detail);
    this.why = why;
  }
}

export class Link {
  #socket;
  #hear;

  /**
   * Opens the WebSocket, says the first message and waits for the welcome. `hear` is told of every message after it, and
   * of the end as { type: 'end', why }. Throws a Refusal.
   */
  static async open(url, first, hear) {
    const link = new Link();
    link.welcome = await link.#enter(url, first, hear);
    return link;
  }

  #enter(url, first, hear) {
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#hear = hear;
    return new Promise((resolve, reject) => {
      let inside = false;
      let told = false;
      socket.addEventListener('open', () => socket.send(JSON.stringify(first)));
      socket.addEventListener('message', ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'welcome') {
          inside = true;
          resolve(message);
        } else if (message.type === 'refused' || (message.type === 'end' && !inside)) {
          told = true;
          reject(new Refusal(message.why, message.detail));
        } else {
          told ||= message.type === 'end';
          this.#hear(message);
        }
      });
      socket.addEventListener('close', () => {
        if (told) return;
        if (inside) this.#hear({ type: 'end', why: 'lost' });
        else reject(new Refusal('no_socket', ''));
      });
    });
  }

  /** Says something to the other browser. */
  say(message) {
    if (!PASSED.includes(message.type)) throw new TypeError(message.type);
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  close() {
    this.#hear = () => {};
    this.#socket.close();
  }
}
