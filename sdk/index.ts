// The agent contract (docs/agent-abi.md) for AssemblyScript. An agent says `import { … } from 'ringcube/sdk'`, and passes the
// contract's version on: `export { ringcube_abi } from 'ringcube/sdk'`. RTP is apart, in 'ringcube/sdk/rtp'.
//
// Nothing here allocates, but for Config and for texts that are put together: the stub runtime never frees, so do both in init only.
export { DROP, PASS, bufferBytes, forward, inputLength, inputMeta, inputPtr, moveInput, ringcube_abi, setVerdict } from './records';
export { emit, emitBuffer } from './emits';
export { load16, load32, loadF32, loadF64, store16, store32, storeF32, storeF64 } from './bytes';
export { log, now } from './host';
export { Config } from './config';
export { beginRestore, beginSave, endRestore, endSave, putBytes, putF64, putI32, takeBytes, takeF64, takeI32 } from './state';
