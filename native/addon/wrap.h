// What every class of the addon needs: a holder that hands shared pointers between them, and how errors reach
// JavaScript. TypeScript has checked the types of all arguments before (src/nic/addon.ts declares every
// class).
//
// A worker that is being terminated runs on until V8 looks, and so may come into a native call where whatever
// touches JavaScript fails: properties read as nothing, and nothing can be thrown. A call must then return
// without harm, and a constructor must leave unmade what it would make of such arguments: alive() tells.
#pragma once

// Without this, node-addon-api ends the process where it can't throw. Every file gets napi.h from here.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <memory>
#include <string>

#include "core/engine.h"

namespace ringcube {

// Destruction: JavaScript holds the wraps; a wrap holds the engine and its own core object; the engine holds
// what it polls. close() (or the finalizer, if nobody closed) takes the object out of the engine under its
// guard, so that the engine's thread can never see half of it; the last wrap to go ends the thread.
template <typename T>
class Wrap : public Napi::ObjectWrap<T> {
 public:
  using Napi::ObjectWrap<T>::ObjectWrap;

 protected:
  static void fail(const Napi::CallbackInfo& info, const std::string& error) {
    Napi::Error::New(info.Env(), error).ThrowAsJavaScriptException();
  }
};

// Whether all that was asked of JavaScript so far was answered: once it isn't, it never will be again.
inline bool alive(Napi::Env env) {
  bool same = false;
  return napi_strict_equals(env, env.Undefined(), env.Undefined(), &same) == napi_ok;
}

// The object behind a JavaScript one; null, and then not alive, if there is none.
template <typename T>
T* unwrap(Napi::Env env, const Napi::Value& value) {
  if (value.IsObject()) return T::Unwrap(value.As<Napi::Object>());
  if (alive(env))
    Napi::TypeError::New(env, "an argument is not one of Ringcube's objects").ThrowAsJavaScriptException();
  return nullptr;
}

inline double number(const Napi::Object& options, const char* name, double fallback) {
  const Napi::Value v = options.Get(name);
  return v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : fallback;
}
inline bool flag(const Napi::Object& options, const char* name) {
  const Napi::Value v = options.Get(name);
  return v.IsBoolean() && v.As<Napi::Boolean>().Value();
}
inline std::string word(const Napi::Object& options, const char* name) {
  const Napi::Value v = options.Get(name);
  return v.IsString() ? v.As<Napi::String>().Utf8Value() : std::string();
}

// An ArrayBuffer over a region's pages, which stay mapped for as long as it lives.
Napi::ArrayBuffer buffer_over(Napi::Env env, const std::shared_ptr<class Region>& region);

Napi::Object init_layout(Napi::Env env);
void init_bench(Napi::Env env, Napi::Object exports);

}  // namespace ringcube
