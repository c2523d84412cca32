package guest

import "github.com/plinthkv/plinth/sdk"

// self is the instance that this module is: its exports have no other way to it.
var self = instance{log: hostLog}

// Serve makes open the backend of this module. It is called from an init
// function, once, and returns at once: the host calls the exports.
func Serve(open sdk.Opener) { self.open = open }
