// ringcube: the library. One end-system from the card upwards, the overlay, and the simulator; the layers are the folders beside this file.
export * from './base/index.js';
export * from './nic/index.js';
export * from './stack/index.js';
export * from './sched/index.js';
export * from './spa/index.js';
export * from './upcall/index.js';
export * from './host/index.js';
export * from './overlay/index.js';
export * from './sim/index.js';
