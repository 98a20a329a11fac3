// Lets every payload through as it is: the least that an agent can be.
import { forward, inputLength, setVerdict } from 'ringcube/sdk';
export { ringcube_abi } from 'ringcube/sdk';

export function process_batch(count: i32): void {
  for (let i = 0; i < count; i++) setVerdict(i, forward(inputLength(i)));
}
