// Runs the hostile modules in real time, saying each one's name before: who dies, dies here.
import { CORPUS } from '../spa/hostile/corpus.js';
import { HostileWorld } from './hostile.js';

const hosts = await new HostileWorld(false).start();
for (const module of CORPUS) {
  console.log(JSON.stringify({ name: module.name }));
  const complaints = await hosts.run(module);
  if (complaints.length > 0) console.log(JSON.stringify({ name: module.name, complaints }));
}
hosts.world.close();
console.log(JSON.stringify({ name: 'end' }));
