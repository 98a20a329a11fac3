#include "core/share.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace ringcube {

namespace {

constexpr size_t kFds = 4;  // region, interrupt page, interrupt, doorbell

bool address_of(const std::string& path, sockaddr_un& address, std::string& error) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    error = "a socket path must have from 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes";
    return false;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return true;
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// A socket file that nobody listens on any more: its owner was killed, or left by process.exit().
bool abandoned(const sockaddr_un& address) {
  struct stat info = {};
  if (lstat(address.sun_path, &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool refused = probe >= 0 &&
                       ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
                       errno == ECONNREFUSED;
  close_fd(probe);
  return refused;
}

bool bind_to(int fd, const sockaddr_un& address) {
  const auto* const at = reinterpret_cast<const sockaddr*>(&address);
  if (bind(fd, at, sizeof address) == 0) return true;
  if (errno != EADDRINUSE) return false;
  if (abandoned(address)) return unlink(address.sun_path) == 0 && bind(fd, at, sizeof address) == 0;
  errno = EADDRINUSE;
  return false;
}

// A call with a timeout ends at any signal, whatever SA_RESTART says (signal(7)), and starts anew with all of
// its time.
template <typename Call>
auto uninterrupted(Call call) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(Attachment::kTimeoutMs);
  auto result = call();
  while (result < 0 && errno == EINTR && std::chrono::steady_clock::now() < end) result = call();
  return result;
}

}  // namespace

std::shared_ptr<Share> Share::create(std::shared_ptr<Engine> engine, std::shared_ptr<Nic> nic,
                                     std::shared_ptr<Region> region, const std::string& path,
                                     std::string& error) {
  sockaddr_un address;
  if (!address_of(path, address, error)) return nullptr;
  if (engine->stepped()) {
    error = "a stepped engine has no thread that could serve another process";
    return nullptr;
  }
  std::shared_ptr<Share> share(new Share());
  share->listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  share->doorbell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (share->listener_ < 0 || share->doorbell_ < 0 || !bind_to(share->listener_, address)) {
    error = path + ": " + std::strerror(errno);
    return nullptr;
  }
  share->path_ = path;  // bound: from here on ours to remove
  share->engine_ = std::move(engine);
  share->nic_ = std::move(nic);
  share->region_ = std::move(region);
  if (listen(share->listener_, 1) != 0 || !share->engine_->watch(share->listener_, *share) ||
      !share->engine_->watch(share->doorbell_, *share)) {
    error = path + ": " + std::strerror(errno);
    return nullptr;
  }
  return share;
}

Share::~Share() { close(); }

void Share::close() {
  drop_client();
  for (int* fd : {&listener_, &doorbell_}) {
    if (*fd >= 0 && engine_ != nullptr) engine_->unwatch(*fd);
    close_fd(*fd);
  }
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
}

void Share::drop_client() {
  if (client_ < 0) return;
  engine_->unwatch(client_);
  close_fd(client_);
  nic_->reset();
}

bool Share::client_gone() const {
  pollfd end = {.fd = client_, .events = 0, .revents = 0};
  return poll(&end, 1, 0) == 1;
}

void Share::readable(int fd) {
  if (fd == doorbell_) {
    eventfd_t rung = 0;
    if (eventfd_read(doorbell_, &rung) == 0) engine_->kick(*nic_);
  } else if (fd == listener_) {
    greet();
  } else if (fd == client_) {
    serve();
  }
}

void Share::greet() {
  int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  // The end of the last one may lie behind a request of its, unread.
  if (client_ >= 0 && client_gone()) drop_client();
  if (client_ >= 0) {
    const ShareHello taken = {.magic = kShareMagic, .vectors = 0};
    send(client, &taken, sizeof taken, MSG_NOSIGNAL);
    close_fd(client);
    return;
  }
  // Its predecessor may have ended between taking the interrupt and saying so.
  auto* const page = reinterpret_cast<InterruptPage*>(nic_->interrupt_page()->data());
  std::atomic_ref<uint32_t>(page->signalled).store(0);
  ShareHello hello = {.magic = kShareMagic, .vectors = kVectors};
  iovec data = {.iov_base = &hello, .iov_len = sizeof hello};
  const std::array<int, kFds> fds = {region_->fd(), nic_->interrupt_page()->fd(), nic_->interrupt_fd(),
                                     doorbell_};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fds)> control = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fds);
  std::memcpy(CMSG_DATA(header), fds.data(), sizeof fds);
  if (sendmsg(client, &message, MSG_NOSIGNAL) < 0 || !engine_->watch(client, *this)) {
    close_fd(client);
    return;
  }
  client_ = client;
  ++connections_;
}

void Share::serve() {
  ShareRequest request = {};
  const ssize_t n = recv(client_, &request, sizeof request, MSG_DONTWAIT | MSG_TRUNC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n != static_cast<ssize_t>(sizeof request)) return drop_client();  // gone, or not one of ours
  uint32_t value = 0;
  if (request.op == ShareOp::kRead)
    value = nic_->read(request.offset);
  else if (request.op == ShareOp::kWrite)
    nic_->write(request.offset, request.value);
  else
    return drop_client();
  if (send(client_, &value, sizeof value, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) drop_client();
}

std::unique_ptr<Attachment> Attachment::connect(const std::string& path, std::string& error) {
  sockaddr_un address;
  if (!address_of(path, address, error)) return nullptr;
  std::unique_ptr<Attachment> self(new Attachment());
  self->socket_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const timeval patience = {.tv_sec = kTimeoutMs / 1000, .tv_usec = 0};
  const auto connected = [&] {
    return ::connect(self->socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  };
  if (self->socket_ < 0 ||
      setsockopt(self->socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      setsockopt(self->socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
      uninterrupted(connected) != 0) {
    error = path + ": " + (errno == EAGAIN ? "nobody answers there" : std::strerror(errno));
    return nullptr;
  }
  ShareHello hello = {};
  iovec data = {.iov_base = &hello, .iov_len = sizeof hello};
  std::array<int, kFds> fds = {};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fds)> control = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = uninterrupted([&] { return recvmsg(self->socket_, &message, MSG_CMSG_CLOEXEC); });
  const cmsghdr* const header = n >= 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  size_t received = 0;
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(fds.data(), CMSG_DATA(header), received * sizeof(int));
  }
  const bool silent = n < 0 && (errno == EAGAIN || errno == EINTR);
  const bool ours = n == static_cast<ssize_t>(sizeof hello) && hello.magic == kShareMagic;
  if (!ours || hello.vectors != kVectors || received != kFds) {
    for (size_t i = 0; i < received; ++i) ::close(fds[i]);
    error = path + (silent                       ? ": nobody answers there"
                    : ours && hello.vectors == 0 ? ": somebody else drives this NIC"
                                                 : ": no NIC of this version answers there");
    return nullptr;
  }
  self->interrupt_ = fds[2];
  self->doorbell_ = fds[3];
  self->region_ = Region::attach(fds[0], error);
  self->page_ = Region::attach(fds[1], error);
  if (self->region_ == nullptr || self->page_ == nullptr) {
    error = path + ": " + error;
    return nullptr;
  }
  if (self->page_->size() < sizeof(InterruptPage)) {
    error = path + ": its interrupt page is too small";
    return nullptr;
  }
  return self;
}

Attachment::~Attachment() {
  close_fd(socket_);
  close_fd(interrupt_);
  close_fd(doorbell_);
}

bool Attachment::ask(const ShareRequest& request, uint32_t& value, std::string& error) {
  ssize_t n = 0;
  if (socket_ >= 0) n = uninterrupted([&] { return send(socket_, &request, sizeof request, MSG_NOSIGNAL); });
  if (n > 0) n = uninterrupted([&] { return recv(socket_, &value, sizeof value, 0); });
  if (n == static_cast<ssize_t>(sizeof value)) return true;
  error = n < 0 && (errno == EAGAIN || errno == EINTR) ? "the owner of this NIC does not answer"
                                                       : "the owner of this NIC is gone";
  close_fd(socket_);  // an answer that comes late would be taken for the next one's
  return false;
}

bool Attachment::read(uint32_t offset, uint32_t& value, std::string& error) {
  return ask({.op = ShareOp::kRead, .offset = offset, .value = 0}, value, error);
}

bool Attachment::write(uint32_t offset, uint32_t value, std::string& error) {
  uint32_t ignored = 0;
  return ask({.op = ShareOp::kWrite, .offset = offset, .value = value}, ignored, error) ||
         (offset == kRegStatus && value == 0);
}

void Attachment::kick() const { eventfd_write(doorbell_, 1); }

}  // namespace ringcube
