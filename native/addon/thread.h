// How the system schedules the thread that calls.
#pragma once

#include "addon/wrap.h"

namespace ringcube {

// realtime(priority): src/nic/thread.ts says what it does.
Napi::Function define_realtime(Napi::Env env);

}  // namespace ringcube
