#include "addon/thread.h"

#include <sched.h>

namespace ringcube {

namespace {

Napi::Value realtime(const Napi::CallbackInfo& info) {
  const sched_param param = {.sched_priority = info[0].As<Napi::Number>().Int32Value()};
  // What this thread starts shall not run above everything else, too. The flag stays on the way back: to
  // clear it takes more rights than to set it (sched(7)).
  const int policy = (param.sched_priority > 0 ? SCHED_FIFO : SCHED_OTHER) | SCHED_RESET_ON_FORK;
  return Napi::Boolean::New(info.Env(), sched_setscheduler(0, policy, &param) == 0);
}

}  // namespace

Napi::Function define_realtime(Napi::Env env) { return Napi::Function::New(env, realtime); }

}  // namespace ringcube
