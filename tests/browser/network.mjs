// The Internet in a box: the server, two clients, and a router before each of them.
//
//   a  192.168.1.2 --- nata 203.0.113.1 ---+
//                                        (pub: a bridge)--- server 203.0.113.10, 203.0.113.11
//   b  192.168.2.2 --- natb 203.0.113.2 ---+            or --- gate 203.0.113.10 --- server 10.0.0.10
//
// The server has no route to what is behind the routers. Without a NAT, a and b have 198.51.100.2 and 192.0.2.2.
import { must, command } from './harness.mjs';

const SIDES = { a: { outer: '203.0.113.1', own: '192.168.1', bare: '198.51.100' }, b: { outer: '203.0.113.2', own: '192.168.2', bare: '192.0.2' } };
export const SERVER = '203.0.113.10';
export const SECOND = '203.0.113.11';

const inside = (space, ...words) => command(['ip', 'netns', 'exec', space, ...words]);
const ip = (words) => command(['ip', ...words.split(' ')]);

const addSpace = (space) => {
  ip(`netns add ${space}`);
  // An interface would get an address of its own a second later, and Chromium begins anew with all that it loads then.
  inside(space, 'sh', '-c', 'for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e $file ] || echo 1 > $file; done');
  ip(`-n ${space} link set lo up`);
};

/** A cable between two namespaces, with an address on either end, if it has one. */
const connect = ([space, name, address], [other, its, theirs]) => {
  ip(`link add ${name} netns ${space} type veth peer name ${its} netns ${other}`);
  for (const [where, what, place] of [[space, name, address], [other, its, theirs]]) {
    if (place) ip(`-n ${where} address add ${place}/24 dev ${what}`);
    ip(`-n ${where} link set ${what} up`);
  }
};

const rules = (space, text) => command(['ip', 'netns', 'exec', space, 'nft', '-f', '-'], { input: `flush ruleset\n${text}` });

/** Turns on forwarding between the interfaces `in` and `out`. */
const forwards = (space) => inside(space, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');

// What each kind of router does to datagrams: `dnat` before routing, `snat` behind it, and whom it lets in.
const translate = (client, outer) => {
  const high = 'udp dport 1024-65535';
  const masquerade = 'oifname "out" masquerade';
  // Two clients behind one NAT that talk by its outer address: here a client with itself.
  const hairpin = `iifname "in" ip daddr ${outer} ${high} dnat to ${client}`;
  const back = 'iifname "in" oifname "in" masquerade';
  const strict = 'iifname "out" ct state new ct status ! dnat drop';
  return {
    none: { forward: '' },
    firewall: { forward: 'iifname "out" ct state new drop' },
    'full-cone': { dnat: `iifname "out" ${high} dnat to ${client}; ${hairpin}`, snat: `${masquerade}; ${back}`, forward: strict },
    'restricted-cone': { dnat: `iifname "out" ip saddr @known ${high} dnat to ${client}`, snat: masquerade, forward: strict },
    'port-restricted-cone': { snat: masquerade, forward: strict },
    // One outer port for each address that a socket talks with.
    'address-dependent': {
      snat: 'oifname "out" meta l4proto udp masquerade to :jhash ip daddr . udp sport mod 40000 offset 20000',
      forward: strict,
    },
    symmetric: { snat: 'oifname "out" masquerade fully-random', forward: strict },
  };
};

export class Network {
  /** Builds it anew. `a` and `b` name kinds of routers; `gate` puts a 1:1 NAT before the server. */
  constructor({ a = 'symmetric', b, gate = false } = {}) {
    for (const space of ip('netns list').split('\n').filter(Boolean)) ip(`netns delete ${space.split(' ')[0]}`);
    for (const space of ['pub', 'server']) addSpace(space);
    ip('-n pub link add bridge type bridge');
    ip('-n pub link set bridge up');
    if (gate) this.#gate();
    else {
      this.#plug(['server', 'eth0', SERVER]);
      ip(`-n server address add ${SECOND}/24 dev eth0`);
    }
    this.sides = {};
    if (a) this.#side('a', a);
    if (b) this.#side('b', b);
  }

  #plug(end) {
    const port = `to-${end[0]}`;
    connect(end, ['pub', port]);
    ip(`-n pub link set ${port} master bridge`);
  }

  #side(side, kind) {
    const { outer, own, bare } = SIDES[side];
    const router = `nat${side}`;
    const network = ['none', 'firewall'].includes(kind) ? bare : own;
    for (const space of [side, router]) addSpace(space);
    connect([side, 'eth0', `${network}.2`], [router, 'in', `${network}.1`]);
    ip(`-n ${side} route add default via ${network}.1`);
    this.#plug([router, 'out', outer]);
    forwards(router);
    ip(`-n ${this.front ?? 'server'} route add ${bare}.0/24 via ${outer}`);
    this.sides[side] = { router, kind, client: `${network}.2`, outer };
    this.only(side, []);
  }

  /** What a router lets out besides: nothing of `blocked`, conditions of nft. Its translation begins anew. */
  only(side, blocked) {
    const { router, kind, client, outer } = this.sides[side];
    const work = translate(client, outer)[kind];
    must(work, `no kind of router is called ${kind}`);
    const chain = (name, hook, priority, text, policy = 'accept') =>
      `chain ${name} { type ${hook} priority ${priority}; policy ${policy}; ${text ?? ''}; }`;
    // What is for nobody inside ends here: a router that took it would remember it, and give its ports to nobody else.
    rules(router, `table ip router {
      set known { type ipv4_addr; flags dynamic, timeout; timeout 60s; }
      counter short_lived { }
      ${chain('incoming', 'nat hook prerouting', 'dstnat', work.dnat)}
      ${chain('outgoing', 'nat hook postrouting', 'srcnat', work.snat)}
      ${chain('input', 'filter hook input', 0, 'iifname "in" accept; ct state established,related accept', 'drop')}
      ${chain('arrive', 'filter hook prerouting', 'raw', `iifname "out" ip saddr ${SERVER} ip ttl < 32 counter name short_lived`)}
      ${chain('forward', 'filter hook forward', 0, [...blocked.map((what) => `iifname "in" ${what} drop`),
        'oifname "out" update @known { ip daddr }', work.forward].filter(Boolean).join('; '))}
    }`);
  }

  /** How many packets of the server came to this router that would not live through many hops. */
  shortLived(side) {
    const text = inside(this.sides[side].router, 'nft', 'list', 'counter', 'ip', 'router', 'short_lived');
    return Number(/packets (\d+)/.exec(text)[1]);
  }

  /** A cloud: the server has a private address, and a gate translates one to one, both ways, hairpins included. */
  #gate() {
    this.front = 'gate';
    addSpace('gate');
    connect(['server', 'eth0', '10.0.0.10'], ['gate', 'in', '10.0.0.1']);
    ip('-n server route add default via 10.0.0.1');
    this.#plug(['gate', 'out', SERVER]);
    forwards('gate');
    this.openGate('accept');
  }

  /** Which packets to the server the gate lets in, as security groups do: those that `allowed` names, and answers. */
  openGate(allowed) {
    rules('gate', `table ip gate {
      chain incoming { type nat hook prerouting priority dstnat; ip daddr ${SERVER} dnat to 10.0.0.10; }
      chain outgoing { type nat hook postrouting priority srcnat; ip saddr 10.0.0.10 snat to ${SERVER}; }
      chain forward { type filter hook forward priority 0; policy drop;
        ct state established,related accept; oifname "out" accept; ${allowed}; }
    }`);
  }

  /** A filter on the server's own host, before its sockets. */
  filterServer(text) {
    rules('server', `table ip host {
      chain input { type filter hook input priority 0; policy accept; ${text}; }
    }`);
  }
}
