#pragma once

#include <vector>

#include "addon/wrap.h"
#include "core/record.h"

namespace ringcube {

class RecorderWrap final : public Wrap<RecorderWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit RecorderWrap(const Napi::CallbackInfo& info);
  ~RecorderWrap() override { shut(); }

 private:
  void add(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { shut(); }
  void shut();

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Recorder> recorder_;
  std::vector<std::shared_ptr<Nic>> nics_;
  bool open_ = false;
};

}  // namespace ringcube
