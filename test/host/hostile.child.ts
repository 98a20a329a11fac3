// Runs the hostile modules in real time, saying each one's name before: who dies, dies here.
import { CORPUS } from '../spa/hostile/corpus.js';
import { HostileWorld } from './hostile.js';

const hosts = await new HostileWorld(false).start();
for (const module of CORPUS) {
  process.stdout.write(`${JSON.stringify({ name: module.name })}\n`);
  const complaints = await hosts.run(module);
  if (complaints.length > 0) process.stdout.write(`${JSON.stringify({ name: module.name, complaints })}\n`);
}
hosts.world.close();
process.stdout.write(`${JSON.stringify({ name: 'end' })}\n`);
