// The baselines of an upcall: what it costs to have somebody's code run by means of the system. Each fills
// `out_ns` with what one round took, in nanoseconds, after a few that are not counted; false and one line in
// `error` when the system refuses.
#ifndef RINGCUBE_BENCH_SIGNALS_H_
#define RINGCUBE_BENCH_SIGNALS_H_

#include <cstdint>
#include <span>
#include <string>

namespace ringcube {

// raise(3) of a real-time signal, until its handler has run and returned.
bool signal_self(std::span<double> out_ns, std::string& error);

// A real-time signal to another process, which answers with one: there and back. Both wait in sigwaitinfo(2),
// the shortest way to take a signal. The process is a fork of this one, on `cpu` (-1: any).
bool signal_peer(std::span<double> out_ns, int cpu, std::string& error);

// The same with a byte through a pipe each way.
bool pipe_peer(std::span<double> out_ns, int cpu, std::string& error);

// mprotect(2) of so many pages of a memfd, all touched before, to PROT_NONE and back.
bool protection_flip(std::span<double> out_ns, uint32_t pages, std::string& error);

}  // namespace ringcube

#endif  // RINGCUBE_BENCH_SIGNALS_H_
