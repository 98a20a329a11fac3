// host: one end-system, composed of cards, a stack, agents and their scheduler; started and stopped as one.
export { Host, type HostInterfaceOptions, type HostOptions, stepHosts } from './host.js';
export { type HostAgentOptions, type HostDomainOptions, type HostStreamOptions, type ShareOptions } from './streams.js';
