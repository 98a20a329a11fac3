// Asks the server of this folder, and prints its answers:
//
//     node examples/udp-server/client.mjs ADDRESS PORT '1 add apples 3' '2 get apples'
import { createSocket } from 'node:dgram';
import { on } from 'node:events';
import { clearInterval, setInterval } from 'node:timers';

const RETRY_MS = 200;
const TIMEOUT_MS = 5000;

const [address, port, ...requests] = process.argv.slice(2);
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
for (const request of requests) {
  const id = request.split(' ', 1)[0];
  const send = () => socket.send(request, port, address);
  const retry = setInterval(send, RETRY_MS);
  send();
  for await (const [message] of on(socket, 'message', { signal: AbortSignal.timeout(TIMEOUT_MS) })) {
    const answer = message.toString();
    if (!answer.startsWith(`${id} `)) continue; // once more to an earlier request
    console.log(answer);
    break;
  }
  clearInterval(retry);
}
socket.close();
