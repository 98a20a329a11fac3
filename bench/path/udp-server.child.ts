// In a network namespace: echoes UDP from C, BATCH at a time, until its standard input ends. Prints its port.
import { addon } from '../../src/nic/index.js';

const [payloadBytes, batch] = process.argv.slice(2) as [string, string];
const forwarder = new addon.bench.UdpForwarder(Number(payloadBytes), Number(batch), false, true, 0);
console.log(forwarder.port);
process.stdin.on('end', () => process.exit()).resume();
// In slices, so that the end of the input is seen.
setInterval(() => forwarder.run(20e6), 1);
