// host: one end-system, composed of cards and a stack (and, to come, dispatcher, scheduler and agents); started and stopped as one.
export { Host, type HostInterfaceOptions, type HostOptions, stepHosts } from './host.js';
