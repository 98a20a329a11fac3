// spa: stream-processing agents. Code of others (WebAssembly) or one's own (TypeScript) behind one contract (docs/agent-abi.md): loaded, checked,
// given a window on the card's memory and a budget, called with payloads, begun anew when it traps. Knows no protocols.
export { Abi, Control, Emit, Input, Verdict } from './abi.js';
export { Agent, type AgentCounters, type AgentHost } from './agent.js';
export { FaultDomain, type FaultDomainOptions } from './domain.js';
export { type TrustedAgent, type TrustedHost } from './instance.js';
export { type LoadedModule, loadModule } from './load.js';
export { type AgentOptions, type TrapCause } from './options.js';
export { Payloads } from './payloads.js';
export { type BudgetKind } from './wasm/budget.js';
