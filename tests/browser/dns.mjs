// A name server for one case: `dns.mjs ADDRESS ZONE`, the zone in JSON: {"name": {"A": "1.2.3.4"}, "name": {"SRV": [[10, 0, 3478, "target"]]}}.
// It prints each question.
import dgram from 'node:dgram';

const [address, text] = process.argv.slice(2);
const zone = JSON.parse(text);
const A = 1;
const SRV = 33;

const numbers = (...values) => Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));
const encode = (name) => Buffer.concat([...name.split('.').filter(Boolean).map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.from([0])]);

/** The data of all records of a name and a type. */
const data = (records, type) => {
  if (type === A && records.A) return [Buffer.from(records.A.split('.').map(Number))];
  if (type !== SRV) return [];
  return (records.SRV ?? []).map(([priority, weight, port, target]) => Buffer.concat([numbers(priority, weight, port), encode(target)]));
};

const answer = (query) => {
  const labels = [];
  let at = 12;
  for (; query[at]; at += query[at] + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]));
  const name = labels.join('.').toLowerCase();
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const found = data(zone[name] ?? {}, type);
  console.log(type, name);
  // RFC 1035 §4.1.1: an answer, with authority; 3: there is no such name.
  const header = numbers(query.readUInt16BE(0), zone[name] ? 0x8580 : 0x8583, 1, found.length, 0, 0);
  // Each record's name is the question's.
  const records = found.map((bytes) => Buffer.concat([numbers(0xC00C, type, 1, 0, 60, bytes.length), bytes]));
  return Buffer.concat([header, question, ...records]);
};

const socket = dgram.createSocket('udp4');
socket.on('message', (query, from) => socket.send(answer(query), from.port, from.address));
socket.bind(53, address, () => console.log('ready'));
