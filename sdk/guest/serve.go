package guest

import "github.com/plinthkv/plinth/sdk"

// self is the instance that this module is: its exports have no other way to it.
var self = instance{log: hostLog}

// Serve makes open the opener of this module's backend. Call it once, from an init
// function. It returns at once: the host calls the exports.
func Serve(open sdk.Opener) { self.open = open }
