"""Where each place that the PowerShell documents name is from.

"EC2 guide" is the Amazon EC2 User Guide, with its Windows parts of 2023 and 2026.
"""

CONFIG = 'EC2 guide, "Configure a Windows instance using the EC2Config service"'
LAUNCH = 'EC2 guide, "Use the EC2Launch v1 agent"'
LAUNCH_V2 = 'EC2 guide, "Use the EC2Launch v2 agent"'
PROFILES = 'EC2 guide, "Troubleshoot Sysprep with EC2 Windows instances"'
SETUP = 'Microsoft, "Windows Setup Automation Overview", implicit answer file search order'
RESTART = "Microsoft, DSC resource xPendingReboot"
CIM = "Microsoft, CIM Win32 provider, the class of that name"

SOURCES = {
    # Launch agents
    r"%ProgramFiles%\Amazon\Ec2ConfigService\Settings\BundleConfig.xml": CONFIG,
    r"%ProgramFiles%\Amazon\Ec2ConfigService\Settings\Config.xml": CONFIG,
    r"%ProgramFiles%\Amazon\Ec2ConfigService\sysprep2008.xml": PROFILES,
    r"$env:ProgramFiles\Amazon\Ec2ConfigService\Ec2Config.exe": CONFIG,
    r"$env:ProgramFiles\Amazon\Ec2ConfigService\Settings\Sysprep2008.xml": CONFIG,
    r"$env:ProgramFiles\Amazon\Ec2ConfigService\sysprep2008.xml": PROFILES,
    r"& '$env:ProgramFiles\Amazon\Ec2ConfigService\ec2config.exe' -sysprep": CONFIG,
    r"%ProgramData%\Amazon\EC2-Windows\Launch\Config\LaunchConfig.json": LAUNCH,
    r"$env:ProgramData\Amazon\EC2-Windows\Launch\Scripts\InitializeInstance.ps1": LAUNCH,
    r"& '$env:ProgramData\Amazon\EC2-Windows\Launch\Scripts\SysprepInstance.ps1'": LAUNCH,
    r"$env:ProgramData\Amazon\EC2-Windows\Launch\Sysprep\Unattend.xml": PROFILES,
    "Amazon Ec2 Launch - Instance Initialization": "the task that InitializeInstance.ps1 registers",
    "Amazon Ec2 Launch - Instance Initialization*": "the same, for one that may not be there",
    r"%ProgramData%\Amazon\EC2Launch\config\agent-config.yml": LAUNCH_V2,
    r"$env:ProgramData\Amazon\EC2Launch\state\.run-once": LAUNCH_V2,
    r"$env:ProgramData\Amazon\EC2Launch\sysprep\unattend.xml": PROFILES,
    r"$env:ProgramFiles\Amazon\EC2Launch\EC2Launch.exe": LAUNCH_V2,
    r"& '$env:ProgramFiles\Amazon\EC2Launch\EC2Launch.exe' sysprep --shutdown=true --clean": (
        LAUNCH_V2
    ),
    r"$env:ProgramData\Amazon\EC2-Windows\Launch\Module\Ec2Launch.psd1": LAUNCH,
    r"$env:ProgramData\Amazon\EC2Launch\log\agent.log": LAUNCH_V2,
    # The SSM agent
    r"$env:ProgramData\Amazon\SSM\InstanceData": (
        "github aws/amazon-ssm-agent, agent/plugins/rundocument, a comment about orchestrationDir"
    ),
    r"$instance\document\state\completed": (
        "github aws/amazon-ssm-agent, agent/appconfig, DefaultLocationOfState and ...OfCompleted"
    ),
    # OpsWorks Stacks
    r"$env:ProgramData\OpsWorksAgent": 'OpsWorks guide, "Troubleshooting and debugging", Windows',
    # Windows
    r"$env:windir\System32\WindowsPowerShell\v1.0\powershell.exe": (
        "Microsoft, about_PowerShell_exe"
    ),
    r"$env:windir\Panther\Unattend\Unattend.xml": SETUP,
    r"$env:windir\Panther\Unattend\Autounattend.xml": SETUP,
    r"$env:windir\Panther\Unattend.xml": SETUP,
    r"$env:windir\Panther\Autounattend.xml": SETUP,
    r"$env:windir\System32\Sysprep\Unattend.xml": SETUP,
    r"$env:windir\System32\Sysprep\Autounattend.xml": SETUP,
    r"$env:SystemDrive\Unattend.xml": SETUP,
    r"$env:SystemDrive\Autounattend.xml": SETUP,
    r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State": (
        'Microsoft, "Windows Setup States"'
    ),
    "ImageState": 'Microsoft, "Windows Setup States"',
    r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending": (
        RESTART
    ),
    r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired": (
        RESTART
    ),
    r"HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager": RESTART,
    "PendingFileRenameOperations": RESTART,
    r"HKLM:\SYSTEM\CurrentControlSet\Control\Nls\Language": (
        'Microsoft, "Multilingual User Interface", installation language'
    ),
    "InstallLanguage": 'Microsoft, "Multilingual User Interface", installation language',
    r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall": (
        'Microsoft, "Uninstall Registry Key"'
    ),
    "DisplayName": 'Microsoft, "Uninstall Registry Key"',
    r"HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon": (
        'Microsoft, "Turn on automatic logon in Windows"'
    ),
    "DefaultPassword": 'Microsoft, "Turn on automatic logon in Windows"',
    r"HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList": PROFILES,
    "ProfileImagePath": PROFILES,
    r"$($key.GetValue('ProfileImagePath'))\.aws\credentials": (
        'AWS SDKs and Tools guide, "Location of the shared config and credentials files"'
    ),
    r"HKLM:\SOFTWARE\Microsoft\Cryptography": 'Microsoft, "CryptAcquireContext", MachineGuid',
    "MachineGuid": 'Microsoft, "CryptAcquireContext", MachineGuid',
    r"HKLM:\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall": (
        'Microsoft, "Registry keys affected by WOW64"'
    ),
    "DisplayVersion": 'Microsoft, "Uninstall Registry Key"',
    "Publisher": 'Microsoft, "Uninstall Registry Key"',
    "SystemComponent": 'Microsoft, "ARPSYSTEMCOMPONENT property"',
    "Win32_ComputerSystem": CIM,
    r"root\CIMV2\TerminalServices": "EC2Launch v1, Module/Scripts/Send-RDPCertInfo.ps1",
    "Win32_TSGeneralSetting": "EC2Launch v1, Module/Scripts/Send-RDPCertInfo.ps1",
    "Win32_QuickFixEngineering": CIM,
    "Win32_UserAccount": CIM,
    "Win32_OperatingSystem": CIM,
    "Win32_Process": CIM,
    "Create": CIM,
    "Win32_Service": CIM,
}

COMPUTED = {
    r"$env:ProgramData\ami-bakery": "our own",
    r"$env:ProgramData\ami-bakery\restart": "our own",
    r"$env:ProgramData\ami-bakery\user-data": "our own",
}
