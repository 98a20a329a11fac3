// testing: the entry `ringcube/testing`, what a test against the real world needs: network namespaces that clean up after themselves,
// and networks of the kernel and a host at user level in them.
export { type TestHostOptions, type TestNetwork, type TestNetworkOptions, testNetwork, withNetwork } from './fixture.js';
export { type ExecOptions, type ExecResult, NetworkNamespace } from './namespace.js';
