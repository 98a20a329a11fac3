// A recorder: what NICs send and take, into one pcapng file with an interface for each.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/nic.h"
#include "core/pcapng.h"

namespace ringcube {

class Recorder {
 public:
  // `epoch_offset`: what to add to the engine's time for nanoseconds since 1970.
  static std::shared_ptr<Recorder> create(const std::string& path, TimeNs epoch_offset, std::string& error) {
    auto writer = PcapngWriter::create(path, error);
    if (writer == nullptr) return nullptr;
    return std::shared_ptr<Recorder>(new Recorder(std::move(writer), epoch_offset));
  }

  // From now on. The recorder outlives its NICs' use of it: the caller clears the monitor before it lets go.
  void add(Nic& nic, const std::string& name) {
    interfaces_.push_back(std::make_unique<Interface>(*this, writer_->add_interface(name)));
    nic.set_monitor(interfaces_.back().get());
  }
  bool flush() { return writer_->flush(); }
  uint64_t written() const { return writer_->written(); }
  uint64_t lost() const { return writer_->lost(); }

 private:
  class Interface final : public Monitor {
   public:
    Interface(Recorder& recorder, uint32_t index) : recorder_(recorder), index_(index) {}
    void frame(bool inbound, const Frame& frame, TimeNs now) override {
      recorder_.slices_.clear();
      for (uint32_t i = 0, left = frame.length; left > 0; ++i) {
        const uint32_t part = frame.slices[i].length < left ? frame.slices[i].length : left;
        recorder_.slices_.emplace_back(frame.slices[i].data, part);
        left -= part;
      }
      recorder_.writer_->write(
          index_, now + recorder_.epoch_offset_,
          inbound ? PcapngWriter::Direction::kInbound : PcapngWriter::Direction::kOutbound,
          recorder_.slices_);
    }

   private:
    Recorder& recorder_;
    uint32_t index_;
  };

  Recorder(std::unique_ptr<PcapngWriter> writer, TimeNs epoch_offset)
      : writer_(std::move(writer)), epoch_offset_(epoch_offset) {}

  std::unique_ptr<PcapngWriter> writer_;
  TimeNs epoch_offset_;
  std::vector<std::unique_ptr<Interface>> interfaces_;
  std::vector<std::span<const std::byte>> slices_;
};

}  // namespace ringcube
