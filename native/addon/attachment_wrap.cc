#include "addon/attachment_wrap.h"

namespace ringcube {

Napi::Function AttachmentWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Attachment",
      {InstanceMethod<&AttachmentWrap::read>("read"), InstanceMethod<&AttachmentWrap::write>("write"),
       InstanceMethod<&AttachmentWrap::kick>("kick"), InstanceMethod<&AttachmentWrap::watch>("watch"),
       InstanceMethod<&AttachmentWrap::ref>("ref"), InstanceMethod<&AttachmentWrap::close>("close"),
       InstanceAccessor<&AttachmentWrap::buffer>("buffer"),
       InstanceAccessor<&AttachmentWrap::page>("interruptPage")});
}

AttachmentWrap::AttachmentWrap(const Napi::CallbackInfo& info) : Wrap(info) {
  if (!alive(info.Env())) return;
  std::string error;
  attachment_ = Attachment::connect(info[0].As<Napi::String>().Utf8Value(), error);
  if (attachment_ == nullptr) fail(info, error);
}

bool AttachmentWrap::open(const Napi::CallbackInfo& info) {
  if (attachment_ == nullptr) fail(info, "this attachment is closed");
  return attachment_ != nullptr;
}

Napi::Value AttachmentWrap::read(const Napi::CallbackInfo& info) {
  uint32_t value = 0;
  std::string error;
  if (open(info) && !attachment_->read(info[0].As<Napi::Number>().Uint32Value(), value, error))
    fail(info, error);
  return Napi::Number::New(info.Env(), value);
}

void AttachmentWrap::write(const Napi::CallbackInfo& info) {
  const uint32_t offset = info[0].As<Napi::Number>().Uint32Value();
  const uint32_t value = info[1].As<Napi::Number>().Uint32Value();
  if (attachment_ == nullptr && offset == kRegStatus && value == 0) return;  // closing has reset it
  std::string error;
  if (open(info) && !attachment_->write(offset, value, error)) fail(info, error);
}

void AttachmentWrap::kick(const Napi::CallbackInfo&) {
  if (attachment_ != nullptr) attachment_->kick();
}

Napi::Value AttachmentWrap::buffer(const Napi::CallbackInfo& info) {
  return open(info) ? buffer_over(info.Env(), attachment_->region()) : info.Env().Undefined();
}

Napi::Value AttachmentWrap::page(const Napi::CallbackInfo& info) {
  return open(info) ? buffer_over(info.Env(), attachment_->interrupt_page()) : info.Env().Undefined();
}

void AttachmentWrap::watch(const Napi::CallbackInfo& info) {
  interrupt_.reset();
  if (open(info))
    interrupt_ = Interrupt::watch(info.Env(), attachment_->interrupt_fd(), info[0].As<Napi::Function>());
}

void AttachmentWrap::ref(const Napi::CallbackInfo& info) {
  if (interrupt_ != nullptr) interrupt_->ref(info[0].ToBoolean());
}

void AttachmentWrap::close(const Napi::CallbackInfo&) {
  interrupt_.reset();
  attachment_.reset();
}

}  // namespace ringcube
