#pragma once

#include "addon/wrap.h"
#include "core/link.h"

namespace ringcube {

class LinkWrap final : public Wrap<LinkWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit LinkWrap(const Napi::CallbackInfo& info);
  ~LinkWrap() override { shut(); }

 private:
  Napi::Value counters(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { shut(); }
  void shut();

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Link> link_;
  bool open_ = false;
};

}  // namespace ringcube
