// A NIC for another worker or process: it connects to a Unix socket, gets the descriptors of the region, the
// interrupt page, the interrupt and the doorbell by SCM_RIGHTS, and reads and writes the registers by
// messages. Its end of the connection is its life: when it goes, the NIC is reset and waits for the next.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/engine.h"
#include "core/nic.h"
#include "core/region.h"

namespace ringcube {

inline constexpr uint32_t kShareMagic = 0x31434e52;  // "RNC1"
struct ShareHello {
  uint32_t magic;
  uint32_t vectors;  // 0, and no descriptors: somebody else drives this NIC
};
enum class ShareOp : uint32_t { kRead = 0, kWrite = 1 };
struct ShareRequest {
  ShareOp op;
  uint32_t offset;
  uint32_t value;
};

// The owner's side; under the engine's guard, as all that touches a NIC.
class Share final : public FdWatcher {
 public:
  static std::shared_ptr<Share> create(std::shared_ptr<Engine> engine, std::shared_ptr<Nic> nic,
                                       std::shared_ptr<Region> region, const std::string& path,
                                       std::string& error);
  ~Share() override;
  void close();
  void readable(int fd) override;
  bool connected() const { return client_ >= 0; }
  uint64_t connections() const { return connections_; }

 private:
  Share() = default;
  void greet();
  bool client_gone() const;
  void drop_client();
  void serve();

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Nic> nic_;
  std::shared_ptr<Region> region_;
  std::string path_;
  int listener_ = -1;
  int client_ = -1;
  int doorbell_ = -1;
  uint64_t connections_ = 0;
};

// The other side. Calls block until the owner's engine answers, at most kTimeoutMs.
class Attachment {
 public:
  static constexpr int kTimeoutMs = 5000;
  static std::unique_ptr<Attachment> connect(const std::string& path, std::string& error);
  ~Attachment();
  // False with an error when the owner is gone, or did not answer: the connection is then given up. Without
  // one the NIC is as reset as it can be, so resetting it succeeds.
  bool read(uint32_t offset, uint32_t& value, std::string& error);
  bool write(uint32_t offset, uint32_t value, std::string& error);
  void kick() const;
  int interrupt_fd() const { return interrupt_; }
  const std::shared_ptr<Region>& region() const { return region_; }
  const std::shared_ptr<Region>& interrupt_page() const { return page_; }

 private:
  Attachment() = default;
  bool ask(const ShareRequest& request, uint32_t& value, std::string& error);

  int socket_ = -1;
  int interrupt_ = -1;
  int doorbell_ = -1;
  std::shared_ptr<Region> region_;
  std::shared_ptr<Region> page_;
};

}  // namespace ringcube
