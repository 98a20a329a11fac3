// Counters over UDP. A request is the line `id add NAME AMOUNT` or `id get NAME`, its answer `id VALUE`, or `id error REASON`.
// A client that hears nothing sends the same request again, id and all: it is done once, and answered alike each time.
//
//     node examples/udp-server/server.mjs [PORT]
import { createSocket } from 'node:dgram';

const MAX_COUNTERS = 10_000;
const MAX_ANSWERS = 100_000; // those of the latest requests: a client that asks again later than that is a new one

const counters = new Map();
const answers = new Map(); // by sender and id

function answer(verb, name, amount) {
  if (name === undefined || !['add', 'get'].includes(verb)) return 'error: ID add NAME AMOUNT, or ID get NAME';
  const value = counters.get(name) ?? 0;
  if (verb === 'get') return value;
  if (!/^-?\d{1,9}$/.test(amount)) return 'error: AMOUNT must be a whole number';
  if (!counters.has(name) && counters.size >= MAX_COUNTERS) return 'error: no room for another counter';
  counters.set(name, value + Number(amount));
  return value + Number(amount);
}

const socket = createSocket({ type: 'udp6' }); // and IPv4 along with it
socket.on('message', (message, { address, port }) => {
  const [id, ...request] = message.toString().trim().split(' ');
  const key = `${address} ${port} ${id}`;
  if (!answers.has(key)) answers.set(key, `${id} ${answer(...request)}`);
  if (answers.size > MAX_ANSWERS) answers.delete(answers.keys().next().value);
  socket.send(answers.get(key), port, address);
});
socket.bind(Number(process.argv[2] ?? 5000), () => console.log(`listening on UDP port ${socket.address().port}`));
