#include "addon/interrupt.h"

#include <sys/eventfd.h>

namespace ringcube {

struct Interrupt::Handle {
  uv_poll_t poll = {};
  Napi::Env env;
  int fd;
  Napi::FunctionReference handler;
  std::unique_ptr<Napi::AsyncContext> context;
  napi_async_cleanup_hook_handle hook = nullptr;
  std::shared_ptr<Handle> held_by_libuv;

  Handle(Napi::Env e, int f, const Napi::Function& h)
      : env(e),
        fd(f),
        handler(Napi::Persistent(h)),
        context(std::make_unique<Napi::AsyncContext>(e, "ringcube:interrupt")) {}

  static void ready(uv_poll_t* poll, int status, int) {
    auto* self = static_cast<Handle*>(poll->data);
    eventfd_t count = 0;
    if (status != 0 || eventfd_read(self->fd, &count) != 0) return;
    const Napi::HandleScope scope(self->env);
    napi_value result = nullptr;
    napi_make_callback(self->env, *self->context, self->env.Global(), self->handler.Value(), 0, nullptr,
                       &result);
    // An exception of the handler is an uncaught one, as that of any event handler. The end of a worker is
    // none.
    if (self->env.IsExceptionPending() && napi_get_and_clear_last_exception(self->env, &result) == napi_ok)
      napi_fatal_exception(self->env, result);
  }

  void close() {
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&poll)) != 0) return;
    uv_poll_stop(&poll);
    uv_close(reinterpret_cast<uv_handle_t*>(&poll), [](uv_handle_t* handle) {
      auto* self = static_cast<Handle*>(handle->data);
      // What belongs to the environment goes while there still is one.
      self->handler.Reset();
      self->context.reset();
      napi_remove_async_cleanup_hook(self->hook);
      self->held_by_libuv.reset();
    });
  }
};

std::unique_ptr<Interrupt> Interrupt::watch(Napi::Env env, int fd, const Napi::Function& handler) {
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto handle = std::make_shared<Handle>(env, fd, handler);
  handle->poll.data = handle.get();
  const int outcome = uv_poll_init(loop, &handle->poll, fd);
  if (outcome != 0) {
    Napi::Error::New(env, uv_strerror(outcome)).ThrowAsJavaScriptException();
    return nullptr;
  }
  handle->held_by_libuv = handle;
  // A worker or process that ends in mid-traffic closes the handle before its loop goes.
  napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void* self) { static_cast<Handle*>(self)->close(); },
      handle.get(), &handle->hook);
  uv_poll_start(&handle->poll, UV_READABLE, Handle::ready);
  return std::unique_ptr<Interrupt>(new Interrupt(std::move(handle)));
}

Interrupt::~Interrupt() {
  if (handle_->held_by_libuv != nullptr) handle_->close();
}

void Interrupt::ref(bool on) {
  if (on)
    uv_ref(reinterpret_cast<uv_handle_t*>(&handle_->poll));
  else
    uv_unref(reinterpret_cast<uv_handle_t*>(&handle_->poll));
}

}  // namespace ringcube
