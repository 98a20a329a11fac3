// testing: the entry `ringcube/testing`, what a test against the real world needs: network namespaces that clean up after themselves.
export { type ExecOptions, type ExecResult, NetworkNamespace } from './namespace.js';
