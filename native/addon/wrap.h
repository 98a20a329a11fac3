// What every class of the addon needs: a holder that hands shared pointers between them, and how errors reach
// JavaScript. TypeScript has checked the types of all arguments before (src/nic/addon.ts declares every class).
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "core/engine.h"

namespace ringcube {

// Destruction: JavaScript holds the wraps; a wrap holds the engine and its own core object; the engine holds what it
// polls. close() (or the finalizer, if nobody closed) takes the object out of the engine under its guard, so that the
// engine's thread can never see half of it; the last wrap to go ends the thread.
template <typename T>
class Wrap : public Napi::ObjectWrap<T> {
 public:
  using Napi::ObjectWrap<T>::ObjectWrap;

 protected:
  static void fail(const Napi::CallbackInfo& info, const std::string& error) {
    Napi::Error::New(info.Env(), error).ThrowAsJavaScriptException();
  }
};

inline double number(const Napi::Object& options, const char* name, double fallback) {
  const Napi::Value v = options.Get(name);
  return v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : fallback;
}
inline bool flag(const Napi::Object& options, const char* name) { return options.Get(name).ToBoolean(); }

// An ArrayBuffer over a region's pages, which stay mapped for as long as it lives.
Napi::ArrayBuffer buffer_over(Napi::Env env, const std::shared_ptr<class Region>& region);

Napi::Object init_layout(Napi::Env env);
void init_bench(Napi::Env env, Napi::Object exports);

}  // namespace ringcube
