// sched: who runs when, and whether that can be promised. Pure: it knows no agents, no network and no timers; the clock is an argument.
//
//     scheduler ──▶ server ──▶ cbs          earliest deadline first over bandwidth servers, each with a queue of jobs
//         │────────▶ admission              processor demand: may this server come in?
//         └────────▶ trace                  what happened, for ui.perfetto.dev
//
//     dwcs-streams ───────▶ dwcs            whose turn it is among loss-tolerant streams that share a server
//     simulation ─▶ job ◀────┘              policies side by side (EDF, FIFO, fixed priorities, DWCS) on sets of periodic tasks
export { type Demand, type AdmissionResult, admission, processorDemandUs } from './admission.js';
export { Cbs } from './cbs.js';
export { DwcsQueue, type WindowConstraint } from './dwcs.js';
export { DwcsStreams, type LossTolerance } from './dwcs-streams.js';
export { type Job, type JobQueue, type Work, edfQueue, fifoQueue, fixedPriorityQueue } from './job.js';
export { Scheduler, type SchedulerOptions } from './scheduler.js';
export { Server, type ServerCounters, type ServerOptions } from './server.js';
export { type SimulationOptions, type Task, simulate, uunifast } from './simulation.js';
export { Trace, TraceKind } from './trace.js';
