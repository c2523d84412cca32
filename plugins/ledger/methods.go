package ledger

// The methods of ledger.v1, as gRPC names them.
const (
	methodRead           = "/ledger.v1.ReadService/Read"
	methodBatchRead      = "/ledger.v1.ReadService/BatchRead"
	methodListEntities   = "/ledger.v1.ReadService/ListEntities"
	methodVerifiedRead   = "/ledger.v1.ReadService/VerifiedRead"
	methodHistoricalRead = "/ledger.v1.ReadService/HistoricalRead"
	methodGetBlock       = "/ledger.v1.ReadService/GetBlock"
	methodGetBlockRange  = "/ledger.v1.ReadService/GetBlockRange"
	methodGetTip         = "/ledger.v1.ReadService/GetTip"
	methodWatchBlocks    = "/ledger.v1.ReadService/WatchBlocks"
	methodWrite          = "/ledger.v1.WriteService/Write"
	methodCheck          = "/ledger.v1.HealthService/Check"
	methodGetVault       = "/ledger.v1.VaultService/GetVault"
	methodCreateVault    = "/ledger.v1.VaultService/CreateVault"
	methodInitCluster    = "/ledger.v1.AdminService/InitCluster"
	methodGetNodeInfo    = "/ledger.v1.AdminService/GetNodeInfo"
	methodGetClusterInfo = "/ledger.v1.AdminService/GetClusterInfo"
	methodProvision      = "/ledger.v1.AdminService/ProvisionRegion"
	methodShowVault      = "/ledger.v1.AdminService/ShowVault"
	methodInitiateEmail  = "/ledger.v1.UserService/InitiateEmailVerification"
	methodVerifyEmail    = "/ledger.v1.UserService/VerifyEmailCode"
	methodRegister       = "/ledger.v1.UserService/CompleteRegistration"
	methodResolveLeader  = "/ledger.v1.SystemDiscoveryService/ResolveRegionLeader"
)
