// A UDP echo server on lwIP (Debian: liblwip-dev), which the udp bench compares the stack with. Not part of the addon:
// bench/path/tap-echo.ts compiles it where lwIP is installed.
//
//   PRECONFIGURED_TAPIF=NAME lwip_echo ADDRESS PORT
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lwip/init.h"
#include "lwip/ip4_addr.h"
#include "lwip/netif.h"
#include "lwip/tcpip.h"
#include "lwip/udp.h"
#include "netif/tapif.h"

static ip4_addr_t address;
static u16_t port;
static struct netif interface;

// The datagram goes back in the buffer it came in.
static void on_datagram(void* arg, struct udp_pcb* pcb, struct pbuf* p, const ip_addr_t* from, u16_t from_port) {
  (void)arg;
  udp_sendto(pcb, p, from, from_port);
  pbuf_free(p);
}

static void start(void* arg) {
  ip4_addr_t mask, gateway;
  struct udp_pcb* pcb = udp_new();
  (void)arg;
  IP4_ADDR(&mask, 255, 255, 255, 0);
  ip4_addr_set_zero(&gateway);
  if (pcb == NULL || netif_add(&interface, &address, &mask, &gateway, NULL, tapif_init, tcpip_input) == NULL ||
      udp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK) {
    fprintf(stderr, "lwip_echo: can't start\n");
    exit(1);
  }
  netif_set_default(&interface);
  netif_set_up(&interface);
  netif_set_link_up(&interface);
  udp_recv(pcb, on_datagram, NULL);
  puts("ready");
  fflush(stdout);
}

int main(int argc, char** argv) {
  if (argc != 3 || !ip4addr_aton(argv[1], &address) || (port = (u16_t)atoi(argv[2])) == 0) {
    fprintf(stderr, "usage: PRECONFIGURED_TAPIF=NAME lwip_echo ADDRESS PORT\n");
    return 2;
  }
  tcpip_init(start, NULL);
  for (;;) pause();
}
