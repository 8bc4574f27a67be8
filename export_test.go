package ullm

import "github.com/ullm/ullm/tensor"

// OnDevice opens the model on a device that open makes, which the engine then owns.
func OnDevice(open func() (tensor.Device, error)) Option {
	return func(o *Options) { o.device = open }
}
