// What the tiny tests beside this file do, one for each framework. CASE says how it ends: pass, fail, or hang until it is killed.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const { CASE, FOLDER, PREFIX } = process.env;

export const options = { prefix: PREFIX, captureFolder: FOLDER };

/** The exit status of ping; the host has 198.18.0.2. */
export async function ping(net) {
  const { pid } = net.namespace.spawn('sleep', ['600'], { stdio: 'ignore' });
  if (CASE === 'hang') {
    writeFileSync(join(FOLDER, 'inside'), `${process.pid} ${pid}`);
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  }
  const address = CASE === 'fail' ? '198.18.0.3' : '198.18.0.2';
  return (await net.namespace.exec('ping', ['-c1', '-W1', address], { allowFailure: true })).status;
}
