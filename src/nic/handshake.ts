import { RingcubeError } from '../base/index.js';
import { type NativeDevice } from './addon.js';
import { type Features, readOffered } from './device.js';
import { DeviceIdNet, MagicValue, Reg, Status } from './layout.js';

/**
 * Resets a device and agrees with it on features (virtio 1.2 §3.1.1, steps 1 to 6): of `wanted`, what it offers.
 * @throws ERR_DEVICE if this is no virtio-net device of version 1 or it refuses them.
 */
export function negotiate(native: NativeDevice, wanted: Features): Features {
  if (native.read(Reg.MagicValue) !== MagicValue || native.read(Reg.DeviceId) !== DeviceIdNet) {
    throw new RingcubeError('ERR_DEVICE', 'this is not a virtio network device');
  }
  native.write(Reg.Status, 0);
  native.write(Reg.Status, Status.Acknowledge);
  native.write(Reg.Status, Status.Acknowledge | Status.Driver);
  const features = readOffered(native).and(wanted);
  if (!features.has('Version1')) throw new RingcubeError('ERR_DEVICE', 'the device is older than virtio 1.0');
  for (let i = 0; i < 2; i++) {
    native.write(Reg.DriverFeaturesSel, i);
    native.write(Reg.DriverFeatures, features.words[i]);
  }
  native.write(Reg.Status, Status.Acknowledge | Status.Driver | Status.FeaturesOk);
  if ((native.read(Reg.Status) & Status.FeaturesOk) === 0) {
    native.write(Reg.Status, Status.Failed);
    throw new RingcubeError('ERR_DEVICE', `the device refuses the features ${features.names().join(', ')}`);
  }
  return features;
}
